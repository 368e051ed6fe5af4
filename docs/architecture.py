"""Draws docs/architecture.svg: the rooms, bottom up, and an arrow for each that imports another.

python docs/architecture.py [--check]
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as MplPath
from rooms import ROOMS, arrows, read_imports

PICTURE = Path(__file__).parent / "architecture.svg"
WIDTH, HEIGHT, STEP = 5.6, 0.56, 0.92  # of a room; from one to the next
MARGIN = 3.3  # on both sides, for the arrows
FOR_ALL = ("robobase", "base")  # nearly all rooms import from these: their arrows run on the left
ORDER = list(ROOMS)
COLORS = (
    *("#5f6b7a", "#8a8f98", "#c8553d", "#7b5ea7", "#2f7f9f", "#3f8f4f", "#a0792c", "#b0487f"),
    *("#4a63b0", "#20877a", "#8c4b2f", "#6b6b6b", "#6b6b6b"),
)
Pair = tuple[str, str]  # a room, and one that it imports from
_ID = "imports."  # of an arrow in the picture: imports.<room>.<other>
_LOOK = {
    "svg.hashsalt": "rooms",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
}


def draw(found: set[Pair], path: Path) -> None:
    """The picture of the rooms with the arrows `found`, as SVG."""
    top = _bottom(ORDER[-1]) + HEIGHT
    with matplotlib.rc_context(_LOOK):
        figure = Figure(figsize=(9.2, 9.2 * (top + 0.3) / (WIDTH + 2 * MARGIN)))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-MARGIN, WIDTH + MARGIN), ylim=(-0.15, top + 0.15))
        axes.axis("off")
        for pair in sorted(found):
            _arrow(axes, pair, found)
        for name, purpose in ROOMS.items():
            _room(axes, name, purpose)
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None})


def _bottom(name: str) -> float:
    return ORDER.index(name) * STEP


def _color(name: str) -> str:
    return COLORS[ORDER.index(name) % len(COLORS)]


def _room(axes: Axes, name: str, purpose: str) -> None:
    shape: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.1", "facecolor": "white"}
    line: dict[str, Any] = {"edgecolor": _color(name), "linewidth": 1.6, "zorder": 3}
    axes.add_patch(FancyBboxPatch((0, _bottom(name)), WIDTH, HEIGHT, **shape, **line))
    words: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4}
    axes.text(WIDTH / 2, _bottom(name) + 0.37, name, fontsize=10.5, weight="bold", **words)
    axes.text(WIDTH / 2, _bottom(name) + 0.15, purpose, fontsize=7.6, **words)


def _arrow(axes: Axes, pair: Pair, found: set[Pair]) -> None:
    """From a room to one below it: straight to its neighbour, else around those in between."""
    above, below = pair
    style: dict[str, Any] = {
        "color": _color(below),
        "arrowstyle": "-|>",
        "mutation_scale": 9,
        "zorder": 2,
    }
    if _distance(pair) == 1:
        ends = [(WIDTH / 2, _bottom(above)), (WIDTH / 2, _bottom(below) + HEIGHT)]
        style["linewidth"] = 1.8
    else:
        start, end = _port(above, pair, found), _port(below, pair, found)
        reach = 4 / 3 * (MARGIN - 0.25) * (_distance(pair) + 1) / (len(ORDER) - 1)
        out = -reach if below in FOR_ALL else reach
        ends = [start, (start[0] + out, start[1]), (end[0] + out, end[1]), end]
        style["linewidth"] = 1.1
    kind = MplPath.CURVE4 if len(ends) == 4 else MplPath.LINETO
    curve = MplPath(ends, [MplPath.MOVETO, *[kind] * (len(ends) - 1)])
    axes.add_patch(FancyArrowPatch(path=curve, gid=f"{_ID}{above}.{below}", **style))


def _distance(pair: Pair) -> int:
    return ORDER.index(pair[0]) - ORDER.index(pair[1])


def _port(name: str, pair: Pair, found: set[Pair]) -> tuple[float, float]:
    """Where an arrow meets the side of a room: a place of its own, above for those that come."""
    left = pair[1] in FOR_ALL
    here = [
        each
        for each in found
        if name in each and (each[1] in FOR_ALL) == left and _distance(each) > 1
    ]
    here.sort(key=lambda each: (each[0] == name, _distance(each) * (1 if each[0] == name else -1)))
    share = (here.index(pair) + 1) / (len(here) + 1)
    return (0 if left else WIDTH), _bottom(name) + HEIGHT * (1 - share)


def drawn(path: Path) -> set[Pair]:
    """The arrows that a picture holds."""
    text = path.read_text(encoding="utf-8")
    return set(re.findall(rf'id="{re.escape(_ID)}(\w+)\.(\w+)"', text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where it is not current")
    found = arrows(read_imports())
    if not parser.parse_args().check:
        draw(found, PICTURE)
    elif drawn(PICTURE) != found:
        sys.exit("docs/architecture.svg is not current: python docs/architecture.py")


if __name__ == "__main__":
    main()
