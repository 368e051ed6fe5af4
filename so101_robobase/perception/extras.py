"""Packages that only perception needs, and what to say where they are missing."""

import importlib
from types import ModuleType

from robobase.errors import UserError

INSTALL = "pip install 'so101-robobase[perception]'"


def require(module: str) -> ModuleType:
    """The imported `module`; UserError that names the extra where it is missing or broken."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = "is not installed" if _is_missing(error, module) else f"does not load ({error})"
        raise UserError(f"{module} {reason}; perception needs it: {INSTALL}") from error
    except RuntimeError as error:  # torchvision beside a torch of another build
        raise UserError(
            f"{module} does not load ({error}); install torch and torchvision together: {INSTALL}"
        ) from error


def _is_missing(error: ImportError, module: str) -> bool:
    return isinstance(error, ModuleNotFoundError) and error.name == module.split(".")[0]
