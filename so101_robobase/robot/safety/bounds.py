"""Limits that a user may tighten but not switch off."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from robobase.errors import UserError

Bounds = Mapping[str, tuple[Any, Any]]
"""Name of a limit -> its least and its greatest value."""


def keep_within(limits: Any, group: str, bounds: Bounds) -> None:
    """Check every field of the frozen dataclass `limits`; lists become tuples, integers floats.

    Raises UserError naming `group.field` for what is no number or outside `bounds`.
    """
    for item in fields(limits):
        given = getattr(limits, item.name)
        value = _as(item.default, given)
        low, high = bounds[item.name]
        if value is None or not (np.less_equal(low, value) & np.less_equal(value, high)).all():
            raise UserError(
                f"{group}.{item.name}={given!r} is not allowed; "
                f"give {_form(item.default)} from {low} to {high}"
            )
        object.__setattr__(limits, item.name, value)


def _as(default: Any, given: Any) -> Any:
    """`given` in the form of `default`, None if it has another; nan is within no bounds."""
    try:
        array = np.array(given, np.float64)
    except (TypeError, ValueError):
        return None
    if array.shape != np.shape(default):
        return None
    if isinstance(default, int):
        return int(array) if float(array).is_integer() else None
    return tuple(array.tolist()) if isinstance(default, tuple) else float(array)


def _form(default: Any) -> str:
    if isinstance(default, tuple):
        return f"{len(default)} numbers"
    return "a whole number" if isinstance(default, int) else "a number"
