"""Limits of one's own, from a file: within the bounds that each limit has, none can be left out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from robobase.errors import UserError
from robobase.reading import read_yaml
from so101_robobase.base.settings import from_mapping
from so101_robobase.robot.safety.filter import SafetyLimits
from so101_robobase.robot.safety.monitor import MonitorLimits

GROUPS = ("safety", "monitor")


class Limits(NamedTuple):
    """What may be sent, and when to hold or stop."""

    safety: SafetyLimits = SafetyLimits()
    monitor: MonitorLimits = MonitorLimits()


def load(path: Path | None) -> Limits:
    """The limits of the YAML file `path`: groups `safety` and `monitor`, keys as in both classes.

    What it does not name is as in `SafetyLimits()` and `MonitorLimits()`. Raises UserError for a
    file that cannot be read, unknown keys and values beyond their bounds.
    """
    values = {} if path is None else _read(path)
    for group in values:
        if group not in GROUPS:
            raise UserError(f"{path}: {group!r} is unknown; known: {', '.join(GROUPS)}")
    groups = {group: values.get(group) or {} for group in GROUPS}
    for group, entries in groups.items():
        if not isinstance(entries, Mapping):
            raise UserError(f"{path}: {group} must be a group of keys")
    return Limits(
        from_mapping(SafetyLimits, groups["safety"], "safety"),
        from_mapping(MonitorLimits, groups["monitor"], "monitor"),
    )


def _read(path: Path) -> Mapping[str, Any]:
    values = read_yaml(path, what="limits")
    if not isinstance(values, Mapping):
        raise UserError(f"limits {path} must have the groups {' and '.join(GROUPS)}")
    return values
