"""What one setting may be: its kind and its range, each with a few words that tell a person.

A kind is called with a value and returns it as it is meant (`1e6` as the whole number it is, a list
as a tuple), or raises ValueError; `str(kind)` completes "give ...". Used by the table of the
engine's settings (`settings.table`), by dataclasses (`settings.fields`) and by command lines.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol

from robobase.errors import UserError
from robobase.schedules import parse

MISSING = "???"
"""How OmegaConf writes a value that is still to come."""

_INF = math.inf
_TEXT_LENGTH = 4096  # of a path on Linux
_LIST_LENGTH = 1024
_SHOWN = 60  # characters of a wrong value
_WORDS = {None: "null", True: "true", False: "false"}
_NEEDS_QUOTES = re.compile(
    r"\s*|[-+.\d]+(e[-+]?\d+)?|null|true|false|nan|[-+]?\.?inf", re.IGNORECASE
)


class Kind(Protocol):
    """What a setting may be."""

    def __call__(self, value: Any) -> Any:
        """The value as it is meant; ValueError where it is not of this kind."""


def checked(kind: Kind, key: str, value: Any) -> Any:
    """`kind(value)`; a UserError that names the key, the value and what is allowed otherwise."""
    try:
        return kind(value)
    except (ValueError, TypeError, OverflowError):
        raise UserError(
            f"{key}={shown(value)} is not allowed; give {kind}{_hint(kind, value)}"
        ) from None


def shown(value: Any) -> str:
    """A value as a person types it, cut where it is long."""
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    text = value if isinstance(value, str) and not _NEEDS_QUOTES.fullmatch(value) else _repr(value)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def close_to(word: Any, known: Sequence[str]) -> str:
    """`; did you mean ...?` where one of the known words is like this one, else nothing."""
    found = difflib.get_close_matches(str(word), known, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a huge number"


def _hint(kind: Kind, value: Any) -> str:
    return close_to(value, kind.names) if isinstance(kind, Choice) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


@dataclass(frozen=True)
class Number:
    """A finite number from `least` to `most`; `above`, `below` are bounds that it may not touch."""

    least: float = -_INF
    most: float = _INF
    above: float = -_INF
    below: float = _INF

    def __call__(self, value: Any) -> float:
        if not _is_number(value) or not math.isfinite(value):
            raise ValueError
        if not (self.least <= value <= self.most and self.above < value < self.below):
            raise ValueError
        return value if isinstance(value, float) else float(value)

    def __str__(self) -> str:
        return f"a number{_bounds(self)}"


@dataclass(frozen=True)
class Whole:
    """A whole number from `least` to `most`; 1e6 is one."""

    least: float = -_INF
    most: float = _INF

    def __call__(self, value: Any) -> int:
        if not _is_number(value):
            raise ValueError
        if not isinstance(value, Integral) and not float(value).is_integer():
            raise ValueError
        if not self.least <= value <= self.most:
            raise ValueError
        return int(value)

    def __str__(self) -> str:
        return f"a whole number{_bounds(self)}"


def _bounds(kind: Any) -> str:
    low, high = kind.least, kind.most
    above, below = getattr(kind, "above", -_INF), getattr(kind, "below", _INF)
    lower = f"above {_plain(above)}" if above > -_INF else f"at least {_plain(low)}"
    upper = f"below {_plain(below)}" if below < _INF else f"at most {_plain(high)}"
    words = [lower] if max(low, above) > -_INF else []
    words += [upper] if min(high, below) < _INF else []
    if len(words) == 2 and above == -_INF and below == _INF:
        return f" from {_plain(low)} to {_plain(high)}"
    return " " + " and ".join(words) if words else ""


def _plain(number: float) -> str:
    return f"{number:,}" if abs(number) >= 10_000 and float(number).is_integer() else f"{number:g}"


@dataclass(frozen=True)
class Flag:
    """true or false, and nothing that could pass for them."""

    def __call__(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    def __str__(self) -> str:
        return "true or false"


class Choice:
    """One of a few values, names as a rule."""

    def __init__(self, *values: Any):
        self.values = values
        self.names = [shown(value) for value in values]

    def __call__(self, value: Any) -> Any:
        for known in self.values:
            if type(known) is type(value) and known == value:
                return value
        raise ValueError

    def __str__(self) -> str:
        *most, last = self.names
        return f"{', '.join(most)} or {last}" if most else last


@dataclass(frozen=True)
class Text:
    """One line of text: a name or a path. A number without quotes is taken for its digits."""

    def __call__(self, value: Any) -> str:
        if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
            value = str(value)
        if not isinstance(value, str) or value == MISSING or not value.strip():
            raise ValueError
        if len(value) > _TEXT_LENGTH or not value.isprintable():
            raise ValueError
        return value

    def __str__(self) -> str:
        return "a line of text"


@dataclass(frozen=True)
class Target:
    """The full name of a class or function, such as `package.module.Class`."""

    def __call__(self, value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", value):
            raise ValueError
        return value

    def __str__(self) -> str:
        return "the full name of a class, such as robobase.logger.Logger"


@dataclass(frozen=True)
class Schedule:
    """A number, or how it changes over env steps; never outside `least` to `most`."""

    least: float
    most: float

    def __call__(self, value: Any) -> Any:
        values, durations = parse(value)
        within = Number(self.least, self.most)
        for number in values:
            within(number)
        for steps in durations:
            Number(above=0)(steps)
        return value

    def __str__(self) -> str:
        return (
            "a number, linear(from,to,steps) or step_linear(from,to,steps,to,steps), with values "
            f"from {_plain(self.least)} to {_plain(self.most)} and more than 0 steps"
        )


@dataclass(frozen=True)
class Filled:
    """A value that the program fills in: it has to be left open."""

    def __call__(self, value: Any) -> str:
        if value != MISSING:
            raise ValueError
        return value

    def __str__(self) -> str:
        return "nothing: the method fills it in"


@dataclass(frozen=True)
class OrNull:
    """null, or what `kind` allows."""

    kind: Kind

    def __call__(self, value: Any) -> Any:
        return None if value is None else self.kind(value)

    def __str__(self) -> str:
        return f"{self.kind}, or null"


class Either:
    """What any of `kinds` allows."""

    def __init__(self, *kinds: Kind):
        self.kinds = kinds

    def __call__(self, value: Any) -> Any:
        for kind in self.kinds:
            try:
                return kind(value)
            except (ValueError, TypeError, OverflowError):
                continue
        raise ValueError

    def __str__(self) -> str:
        return ", or ".join(map(str, self.kinds))


@dataclass(frozen=True)
class Items:
    """A list of `least` to `most` entries of one kind."""

    kind: Kind
    least: int = 1
    most: int = _LIST_LENGTH

    def __call__(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str | Mapping) or not hasattr(value, "__len__"):
            raise ValueError
        if not self.least <= len(value) <= self.most:
            raise ValueError
        return tuple(self.kind(item) for item in value)

    def __str__(self) -> str:
        if self.least == self.most:
            return f"a list of {self.least}, each {self.kind}"
        return f"a list of {self.least} to {self.most}, each {self.kind}"


@dataclass(frozen=True)
class Range:
    """[lowest, highest] of one kind."""

    kind: Kind

    def __call__(self, value: Any) -> tuple[Any, Any]:
        low, high = Items(self.kind, 2, 2)(value)
        if low > high:
            raise ValueError
        return low, high

    def __str__(self) -> str:
        return f"[lowest, highest], each {self.kind}"


class Weights:
    """{name: weight} of known names: numbers of 0 or more, one of them above."""

    def __init__(self, *names: Any):
        self.names = names

    def __call__(self, value: Any) -> dict[Any, float]:
        if not isinstance(value, Mapping):
            raise ValueError
        weights = {key: Number(0, 1e9)(weight) for key, weight in value.items()}
        if not set(weights) <= set(self.names) or not sum(weights.values()) > 0:
            raise ValueError
        return weights

    def __str__(self) -> str:
        names = ", ".join(map(str, self.names))
        return f"{{name: weight}} with weights of 0 or more, not all 0, for names among {names}"
