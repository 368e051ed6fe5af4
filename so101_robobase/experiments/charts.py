"""Charts as inline SVG whose lines and letters take the colours of the page they stand in.

Drawn by matplotlib; nothing in them is a script or refers to a file or an address.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter
from numpy.typing import NDArray

from so101_robobase.experiments.aggregate import Estimate, Scores, profile, profile_band
from so101_robobase.experiments.runs import Run

COLOURS = (
    "#3b82c4", "#e0762f", "#3f9c56", "#c94f6d", "#8a6bbf",
    "#a97b50", "#d17ab8", "#7f8794", "#a5a02a", "#2fa3a8",
)  # fmt: skip
"""Of groups, in order; told apart on white and on black."""

_DASHES = ("-", "--", ":", "-.")  # after each ten colours
_INK, _LINE = "#111213", "#d4d5d6"  # stand for the page's own
_SIZE = (5.2, 3.3)  # inches
_LEVELS: NDArray[np.float64] = np.linspace(0, 1, 101, dtype=np.float64)
Band = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


STEPS = "env steps"


@dataclass(frozen=True)
class Quantity:
    """What is drawn over what: of each run an array per evaluation."""

    title: str
    x_label: str
    x: Callable[[Run], NDArray[np.float64]]
    y: Callable[[Run], NDArray[np.float64]]
    is_share: bool = True


CURVES = (
    Quantity("success", STEPS, lambda run: run.env_steps, lambda run: run.episode_success),
    Quantity("success", "minutes", lambda run: run.total_time / 60, lambda r: r.episode_success),
    Quantity("return", STEPS, lambda run: run.env_steps, lambda r: r.episode_reward, False),
)


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def dashes(number: int) -> str:
    """Of the lines of group `number`."""
    return _DASHES[number // len(COLOURS) % len(_DASHES)]


def curves(groups: Sequence[Sequence[Run]], what: Quantity) -> str:
    """A faint line per run; of groups with several their mean, and a band from least to most."""
    figure, axes = _figure(what)
    last = 0.0
    for number, runs in enumerate(groups):
        lines = [line for run in runs if (line := _line(run, what)) is not None]
        style: dict[str, Any] = {"color": colour(number), "linestyle": dashes(number)}
        last = max([last, *(float(x[-1]) for x, _ in lines)])
        band = mean_band(lines)
        for x, y in lines:
            alone = band is None
            axes.plot(
                x, y, linewidth=1.8 if alone else 0.8, alpha=1 if alone else 0.45,
                marker="." if alone else None, clip_on=False, **style,
            )  # fmt: skip
        if band is not None:
            x, middle, low, high = band
            axes.fill_between(x, low, high, color=colour(number), alpha=0.16, linewidth=0)
            axes.plot(x, middle, linewidth=2.2, clip_on=False, **style)
    axes.set_xlim(0, max(last, 1e-3))
    return _svg(figure, f"{what.title} over {what.x_label}")


def mean_band(lines: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> Band | None:
    """x, mean, least, most of several lines, up to where the shortest ends; None of fewer."""
    lines = [(x, y) for x, y in lines if len(x) > 1]
    if len(lines) < 2:
        return None
    end = min(x[-1] for x, _ in lines)
    grid = np.unique(np.concatenate([x for x, _ in lines]))
    grid = grid[(grid >= max(x[0] for x, _ in lines)) & (grid <= end)]
    if len(grid) < 2:
        return None
    values = np.array([np.interp(grid, x, y) for x, y in lines])
    return grid, values.mean(axis=0), values.min(axis=0), values.max(axis=0)


def profiles(scores: Sequence[tuple[int, Scores]]) -> str:
    """Share of runs above each success rate, with bootstrap bands; of groups by their numbers."""
    figure, axes = _figure(Quantity("share of runs above", "success", _nothing, _nothing))
    for number, one in scores:
        style: dict[str, Any] = {"color": colour(number), "linestyle": dashes(number)}
        low, high = profile_band(one, _LEVELS)
        axes.fill_between(_LEVELS, low, high, color=colour(number), alpha=0.12, linewidth=0)
        axes.step(_LEVELS, profile(one, _LEVELS), where="post", clip_on=False, **style)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    return _svg(figure, "performance profile")


def intervals(estimates: Sequence[tuple[int, Estimate]], title: str) -> str:
    """A line per group, by its number, from the low to the high end of its estimate."""
    figure = Figure(figsize=(_SIZE[0], 0.75 + 0.27 * len(estimates)), layout="constrained")
    axes = figure.add_subplot()
    for place, (number, one) in enumerate(estimates):
        at = -place
        axes.plot([one.low, one.high], [at, at], color=colour(number), linewidth=7, alpha=0.35)
        axes.plot([one.value], [at], "|", color=colour(number), markersize=13, markeredgewidth=3)
    axes.set(ylim=(0.6 - len(estimates), 0.6), yticks=[], xlim=(0, 1))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    _dress(axes, title)
    return _svg(figure, title)


def _nothing(run: Run) -> NDArray[np.float64]:
    raise NotImplementedError


def _line(run: Run, what: Quantity) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    x, y = what.x(run), what.y(run)
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return None
    order = np.argsort(x[known], kind="stable")
    return x[known][order], y[known][order]


def _figure(what: Quantity) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    if what.is_share:
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    if what.x_label == STEPS:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel(what.x_label, color=_INK)
    _dress(axes, what.title)
    return figure, axes


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.grid(color=_LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_LINE)
    axes.tick_params(colors=_INK, color=_LINE, labelsize=10)


def _svg(figure: Figure, label: str) -> str:
    from matplotlib import rc_context

    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    buffer = io.StringIO()
    settings: Mapping[str, object] = {"svg.fonttype": "none", "svg.hashsalt": "report"}
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context(settings):  # type: ignore[arg-type]
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    head = re.search(r'viewBox="[^"]*"', text)
    box = head[0] if head else ""
    text = f'<svg role="img" aria-label="{label}" {box}>' + text[text.index(">") + 1 :]
    text = re.sub(r"\s*xlink:href=", " href=", text)
    return text.replace(_INK, "currentColor").replace(_LINE, "var(--line)")
