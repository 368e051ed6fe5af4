"""One setting of a run: what it may be, and on what else it depends whether anything reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robobase.settings.kinds import Kind, shown


@dataclass(frozen=True)
class Need:
    """A setting is read only where `holds` is true of the values of `keys`.

    `says` completes "it is read only with ..."; without keys the setting is never read, and `says`
    tells why. A key that begins with a dot belongs to the setting's own group.
    """

    says: str
    keys: tuple[str, ...] = ()
    holds: Callable[..., bool] = bool

    def within(self, group: str) -> "Need":
        """This need of a setting in `group`, with full keys."""
        if not any(key.startswith(".") for key in self.keys):
            return self
        keys = tuple(f"{group}{key}" if key.startswith(".") else key for key in self.keys)
        says = f"{group}{self.says}" if self.says.startswith(".") else self.says
        return Need(says, keys, self.holds)


def on(key: str) -> Need:
    """Read where `key` is true, or a number other than 0."""
    return Need(f"{key} on", (key,), bool)


def off(key: str) -> Need:
    """Read where `key` is null, false or 0."""
    return Need(f"{key} off", (key,), lambda value: not value)


def given(key: str) -> Need:
    """Read where `key` is not null."""
    return Need(f"{key} given", (key,), lambda value: value is not None)


def null(key: str) -> Need:
    """Read where `key` is null."""
    return Need(f"{key}=null", (key,), lambda value: value is None)


def one_of(key: str, *values: Any) -> Need:
    """Read where `key` is one of these values."""
    return Need(f"{key}={'|'.join(map(shown, values))}", (key,), lambda value: value in values)


def never(why: str) -> Need:
    """Never read."""
    return Need(why)


class Setting:
    """A kind, and what the setting needs to be read."""

    def __init__(self, kind: Kind, *needs: Need):
        self.kind, self.needs = kind, needs

    def and_needs(self, *needs: Need) -> "Setting":
        """The same with further needs."""
        return Setting(self.kind, *needs, *self.needs)
