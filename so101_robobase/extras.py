"""Packages of the extras, and what to say where they are missing."""

import importlib
from types import ModuleType

from robobase.errors import UserError


def require(module: str, extra: str, who: str) -> ModuleType:
    """The imported `module`; UserError where it is missing or broken.

    Args:
        extra: of this project, that installs it.
        who: needs it, for the message.
    """
    install = f"pip install 'so101-robobase[{extra}]'"
    top = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == top
        reason = "is not installed" if missing else f"does not load ({error})"
        raise UserError(f"{top} {reason}; {who} needs it: {install}") from error
    except RuntimeError as error:  # torchvision beside a torch of another build
        raise UserError(
            f"{top} does not load ({error}); install torch and torchvision together: {install}"
        ) from error
