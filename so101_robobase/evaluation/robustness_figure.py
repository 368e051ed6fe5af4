"""The robustness suite as one picture: a map of the table, and a panel per thing that varies."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from so101_robobase.base.files import written_whole
from so101_robobase.evaluation.robustness import AS_IT_IS, BEYOND, CUBE_PLACE
from so101_robobase.evaluation.robustness_results import Result
from so101_robobase.tasks.config import CubeBox

_CELL = 0.04  # m
_COLOUR, _QUIET = "#4c78a8", "#999999"
_COLUMNS = 4


def draw(results: Sequence[Result], box: CubeBox, path: Path, title: str) -> None:
    """Write the picture of `results` to the PNG `path`; `box` is where the task puts cubes."""
    places = next((one for one in results if one.factor == CUBE_PLACE), None)
    nominal = next((one.rate for one in results if one.factor == AS_IT_IS), None)
    factors = [one.factor for one in results if one.factor not in (AS_IT_IS, CUBE_PLACE)]
    panels = list(dict.fromkeys(factors))
    rows = max(-(-len(panels) // _COLUMNS), 1)
    figure = Figure(figsize=(16 if places else 11, 2.4 * rows + 0.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    ratio = [1, 2.4] if places else [1]
    *left, right = figure.subfigures(1, len(ratio), width_ratios=ratio, squeeze=False)[0]
    if places is not None:
        _map(left[0].add_subplot(), places, box)
    for number, factor in enumerate(panels):
        axes = right.add_subplot(rows, _COLUMNS, number + 1)
        _levels(axes, [one for one in results if one.factor == factor], nominal)
        axes.set_title(factor, fontsize=10)
    figure.suptitle(title, fontsize=11, color="#444444", parse_math=False)
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png")


def success_map(result: Result, box: CubeBox) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Success by where the cube lay: (rate (X, Y), nan where none lay, edges of x, edges of y)."""
    x, y, success = np.array(result.starts, dtype=np.float64).reshape(-1, 3).T
    edges = [
        np.linspace(
            low - BEYOND, high + BEYOND, max(round((high - low + 2 * BEYOND) / _CELL), 1) + 1
        )
        for low, high in (box.x, box.y)
    ]
    tried, *_ = np.histogram2d(x, y, edges)
    lifted, *_ = np.histogram2d(x, y, edges, weights=success)
    with np.errstate(invalid="ignore"):
        return lifted / tried, *edges


def _map(axes: Axes, places: Result, box: CubeBox) -> None:
    rate, x, y = success_map(places, box)
    # As one looks from behind the arm: x forward is up, y to the left is left.
    axes.pcolormesh(y, x, rate, vmin=0, vmax=1, cmap="RdYlGn", edgecolors="white")
    for i, j in np.argwhere(~np.isnan(rate)):
        at = (y[j] + y[j + 1]) / 2, (x[i] + x[i + 1]) / 2
        axes.text(*at, f"{100 * rate[i, j]:.0f}", ha="center", va="center", fontsize=7)
    corner = box.y[0], box.x[0]
    size = box.y[1] - box.y[0], box.x[1] - box.x[0]
    axes.add_patch(Rectangle(corner, *size, fill=False, linewidth=1.5))
    axes.invert_xaxis()
    axes.set_aspect("equal")
    axes.set_xlabel("y, to the left (m)")
    axes.set_ylabel("x, forward (m)")
    axes.set_title("success (%) by the cube's place; frame: the task's box", fontsize=10)


def _levels(axes: Axes, results: Sequence[Result], nominal: float | None) -> None:
    at = np.arange(len(results))
    rate = np.array([one.rate for one in results])
    low, high = np.array([one.interval for one in results]).T
    axes.bar(at, rate, color=_COLOUR, width=0.6)
    axes.errorbar(at, rate, [rate - low, high - rate], fmt="none", ecolor="black", capsize=2)
    if nominal is not None:
        axes.axhline(nominal, color=_QUIET, linewidth=1, linestyle="--")
    axes.set_xticks(at, [one.level for one in results], fontsize=7)
    axes.set_xlim(-0.6, max(len(results), 3) - 0.4)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.tick_params(axis="y", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
