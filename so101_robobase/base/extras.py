"""Packages of the extras, and what to say where they are missing."""

import importlib
import shlex
from functools import partial
from pathlib import Path
from types import ModuleType

from robobase.errors import UserError

_CHECKOUT = Path(__file__).parents[2]


def install(extra: str, checkout: Path = _CHECKOUT) -> str:
    """The command that installs `extra`, as a message ends with it.

    It installs from the checkout, since no package index has this project; a wheel knows of none.
    """
    command = f'pip install uv && uv pip install -c constraints-full.txt -e ".[{extra}]"'
    if (checkout / "constraints-full.txt").is_file():
        return f"cd {shlex.quote(str(checkout))} && {command}"
    return f"in a checkout of this project: {command}"


def require(module: str, extra: str, who: str) -> ModuleType:
    """The imported `module`; UserError where it is missing or broken.

    Args:
        extra: of this project, that installs it.
        who: needs it, for the message.
    """
    top = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == top
        reason = "is not installed" if missing else f"does not load ({error})"
        raise UserError(f"{top} {reason}; {who} needs it: {install(extra)}") from error
    except RuntimeError as error:  # torchvision beside a torch of another build
        raise UserError(
            f"{top} does not load ({error}); install torch and torchvision together: "
            f"{install(extra)}"
        ) from error


require_robot = partial(require, extra="robot", who="the real arm")
require_perception = partial(require, extra="perception", who="perception")
