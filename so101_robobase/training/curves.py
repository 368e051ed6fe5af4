"""Learning curves of a run as one picture, from its `train.csv` and `eval.csv`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from robobase.metrics_csv import read_table
from so101_robobase.base.files import written_whole

CURVES_FILE = "learning_curves.png"

_EVAL_COLOUR = "#e45756"
_LINE_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d")
_LARGEST = 1e30  # that can be drawn
_SMOOTHING_POINTS = 50  # the smoothed line averages over a fiftieth of the run

Table = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Panel:
    title: str
    columns: tuple[str, ...]  # of train.csv; the first one is also looked up in eval.csv
    in_eval: bool = False
    is_share: bool = False  # between 0 and 1
    from_zero: bool = False
    log_scale: bool = False  # used where all values are positive


_PANELS = (
    _Panel("success rate (%)", ("episode_success",), in_eval=True, is_share=True),
    _Panel("episode reward (sum)", ("episode_reward",), in_eval=True),
    _Panel("episode length (env steps)", ("episode_length",), in_eval=True, from_zero=True),
    _Panel("critic loss", ("critic_loss",), log_scale=True),
    _Panel("actor loss", ("actor_loss", "actor_bc_loss")),
    _Panel("Q values (scaled reward)", ("critic_target_q", "critic_q1", "critic_q2")),
)


def plot_learning_curves(run_dir: Path, path: Path) -> bool:
    """Draw the curves of the run folder `run_dir` to the PNG `path`.

    The x axis counts environment steps. Columns and files that are missing leave their panel out;
    with nothing to draw no picture is written. The file is replaced in one move.

    Returns:
        Whether a picture was written.
    """
    train, evaluation = _read_table(run_dir / "train.csv"), _read_table(run_dir / "eval.csv")
    panels = [panel for panel in _PANELS if _has_data(panel, train, evaluation)]
    if not panels:
        return False
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.3 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)  # without pyplot: no global state, no display
    last_step = max(table["step"].max() for table in (train, evaluation) if len(table["step"]))
    for k, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, k + 1)
        _draw_panel(axes, panel, train, evaluation)
        axes.set_xlim(0, max(float(last_step), 1.0))
        if k >= len(panels) - columns:
            axes.set_xlabel("environment steps")
    title = "/".join(run_dir.resolve().parts[-2:])
    figure.suptitle(title, fontsize=11, color="#444444", parse_math=False)
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png")
    return True


def moving_average(value: np.ndarray, window: int) -> np.ndarray:
    """Mean over the last `window` entries of `value` `(n,)`, over fewer at the start."""
    total = np.concatenate([[0.0], np.cumsum(value)])
    end = np.arange(1, len(value) + 1)
    start = np.maximum(0, end - window)
    return (total[end] - total[start]) / (end - start)


def _draw_panel(axes: Axes, panel: _Panel, train: Table, evaluation: Table) -> None:
    lines = [(name, *_series(train, name)) for name in panel.columns]
    lines = [(name, step, value) for name, step, value in lines if len(step)]
    for (name, step, value), colour in zip(lines, _LINE_COLOURS, strict=False):
        label = "training" if panel.in_eval else name.removeprefix("critic_")
        window = max(1, len(value) // _SMOOTHING_POINTS)
        if window > 1:
            axes.plot(step, value, color=colour, alpha=0.25, linewidth=0.8)
        smooth = moving_average(value, window)
        axes.plot(
            step, smooth, color=colour, linewidth=1.6, label=label, clip_on=not panel.is_share
        )
    if panel.in_eval:
        step, value = _series(evaluation, panel.columns[0])
        if len(step):
            axes.plot(
                step, value, "o-", color=_EVAL_COLOUR, linewidth=1.4, markersize=4,
                label="evaluation", clip_on=False, zorder=3,
            )  # fmt: skip
    if panel.is_share:
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if panel.log_scale and all((value > 0).all() for _, _, value in lines):
        axes.set_yscale("log")
    if panel.from_zero:
        axes.set_ylim(bottom=0)
    if len(axes.get_legend_handles_labels()[1]) > 1:
        # Above the curves, where it hides none of them; the title is on the left.
        axes.legend(
            frameon=False, fontsize=8, ncols=len(lines) + panel.in_eval, loc="lower right",
            bbox_to_anchor=(1.02, 1.02), borderaxespad=0, columnspacing=1, handlelength=1.5,
        )  # fmt: skip
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors="#444444", which="both")


def _has_data(panel: _Panel, train: Table, evaluation: Table) -> bool:
    in_train = any(len(_series(train, name)[0]) for name in panel.columns)
    return in_train or (panel.in_eval and len(_series(evaluation, panel.columns[0])[0]) > 0)


def _series(table: Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows that hold a finite value of `name`."""
    if name not in table:
        return np.empty(0), np.empty(0)
    finite = np.isfinite(table[name])
    return table["step"][finite], table[name][finite]


def _read_table(path: Path) -> Table:
    """Columns of a CSV file as float arrays; empty cells are NaN, a missing file has no rows."""
    if not path.exists():
        return {"step": np.empty(0)}
    names, rows = read_table(path)
    if "step" not in names:
        return {"step": np.empty(0)}
    rows = [row for row in rows if row[names.index("step")]]
    values = np.array([[_to_float(cell) for cell in row] for row in rows]).reshape(-1, len(names))
    return dict(zip(names, values[np.isfinite(values[:, names.index("step")])].T, strict=True))


def _to_float(text: str | None) -> float:
    try:
        value = float(text) if text else np.nan
    except ValueError:
        return np.nan
    return value if abs(value) < _LARGEST else np.nan
