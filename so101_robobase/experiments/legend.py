"""Settings by the colour, the kind of line and the short name that they have on the whole page."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

from so101_robobase.experiments import charts
from so101_robobase.experiments.html import Html, element, text

_FILLED = {"--": 60, ":": 25, "-.": 80}  # %, of each stripe of a broken line
_LONGEST = 28  # letters of a name in a table


@dataclass(frozen=True)
class Legend:
    """`settings` in order, and what each is called where there is little room."""

    settings: tuple[str, ...]
    names: tuple[str, ...]
    has_letters: bool = False

    def __len__(self) -> int:
        return len(self.settings)

    def named(self, number: int) -> Html:
        """A short name behind a dash of the setting's colour and kind."""
        name = element("span", self.names[number], title=self.settings[number])
        return Html(f"{_dash(number)}{name}")

    def list(self) -> Html:
        """What the names mean; nothing where there is one setting."""
        if len(self) < 2:
            return Html("")
        items = [
            element("li", Html(_dash(number) + text(self._told(number))))
            for number in range(len(self))
        ]
        return element("ul", *items, class_="legend")

    def _told(self, number: int) -> str:
        setting, name = self.settings[number], self.names[number]
        return f"{name}: {setting}" if self.has_letters else setting


def legend(settings: Sequence[str]) -> Legend:
    """Short names: values alone where one key differs, letters where settings are long."""
    told = [setting or "(nothing of its own)" for setting in settings]
    heads = {setting.partition("=")[0] for setting in settings}
    names = told
    if len(heads) == 1 and all(setting.count("=") == 1 for setting in settings):
        key = heads.pop().rpartition(".")[2]
        values = [setting.partition("=")[2] for setting in settings]
        speaking = all(value[:1].isalpha() and len(value) > 1 for value in values)
        names = values if speaking else [f"{key} {value}" for value in values]
    are_long = any(len(name) > _LONGEST for name in names)
    if are_long:
        names = [_letter(number) for number in range(len(told))]
    return Legend(tuple(told), tuple(names), are_long)


def _letter(number: int) -> str:
    """A, B ... Z, A1, B1 ..."""
    turn, place = divmod(number, len(string.ascii_uppercase))
    return string.ascii_uppercase[place] + (str(turn) if turn else "")


def _dash(number: int) -> Html:
    colour, kind = charts.colour(number), charts.dashes(number)
    shade = _stripes(colour, _FILLED[kind]) if kind in _FILLED else colour
    return element("span", Html(""), class_="dot", style=f"background: {shade}")


def _stripes(colour: str, filled: int) -> str:
    return f"repeating-linear-gradient(90deg, {colour} 0 {filled}%, transparent 0 100%) 0 0 / 0.5em"
