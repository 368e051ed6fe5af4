"""Packages that only the real arm needs, and what to say where they are missing."""

import importlib
from types import ModuleType

from robobase.errors import UserError

INSTALL = "pip install 'so101-robobase[robot]'"


def require(module: str) -> ModuleType:
    """The imported `module`; UserError that names the extra where it is missing or broken."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        top = module.split(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and error.name == top
        reason = "is not installed" if missing else f"does not load ({error})"
        raise UserError(f"{top} {reason}; the real arm needs it: {INSTALL}") from error
