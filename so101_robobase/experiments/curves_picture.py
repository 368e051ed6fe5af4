"""The curves of several training runs in one picture."""

from collections.abc import Sequence
from pathlib import Path

from so101_robobase.base.files import MARK, written_whole
from so101_robobase.experiments.runs import Run, settings

SUFFIXES = (".png", ".pdf", ".svg")
_WIDTH, _HEIGHT = 11.0, 4.2  # inches, without the legend
_AXIS = 0.55  # inches, of numbers and label below the curves
_LINE = 0.17  # inches, of the legend
_MOST_LINES = 24  # of the legend; further runs are counted in its last line
_LINE_STYLES = ("-", "--", ":", "-.")  # after each ten colours


def draw_curves(runs: Sequence[Run], path: Path) -> None:
    """Success and reward against env steps, in a file at `path` with one of `SUFFIXES`.

    One colour per setting where settings have several seeds, else one per run; the legend has all
    of its lines below the curves.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, PercentFormatter

    labels = _labels(runs)
    names = list(dict.fromkeys(labels))
    lines = min(len(names), _MOST_LINES + 1)
    legend_height = _LINE * lines + 0.15
    figure = Figure(figsize=(_WIDTH, _HEIGHT + legend_height))
    FigureCanvasAgg(figure)
    success, reward = figure.subplots(1, 2)
    bottom = (legend_height + _AXIS) / (_HEIGHT + legend_height)
    figure.subplots_adjust(left=0.07, right=0.98, top=0.96, bottom=bottom, wspace=0.18)
    handles = {}
    for label, run in zip(labels, runs, strict=True):
        number = names.index(label)
        style = {
            "color": f"C{number % 10}",
            "linestyle": _LINE_STYLES[number // 10 % len(_LINE_STYLES)],
            "marker": ".",
            "linewidth": 1.2,
        }
        steps, rates = run.env_steps, run.episode_success
        # A run that never succeeded lies on the axis: it is drawn over the frame, not under it.
        (handles[label],) = success.plot(steps, rates, clip_on=False, zorder=3, **style)
        reward.plot(steps, run.episode_reward, **style)
    success.set(ylim=(0, 1), ylabel="evaluation success rate (%)")
    success.yaxis.set_major_formatter(PercentFormatter(1.0))
    reward.set(ylabel="evaluation return (sum of rewards)")
    last = max((float(run.env_steps.max()) for run in runs), default=1.0)
    for axes in (success, reward):
        axes.set(xlabel="environment steps (control steps of 20 ms)", xlim=(0, max(last, 1.0)))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.3)
    shown = names[:_MOST_LINES]
    texts = [_short(name, 150).replace("$", r"\$") for name in shown]  # no formulas
    entries = [handles[name] for name in shown]
    if len(names) > _MOST_LINES:
        (blank,) = success.plot([], [], linestyle="none")
        entries.append(blank)
        texts.append(f"and {len(names) - _MOST_LINES} more, in the table")
    figure.legend(
        entries,
        texts,
        loc="lower left",
        bbox_to_anchor=(0.06, 0.005),
        borderaxespad=0.0,
        fontsize=8,
        frameon=False,
        labelspacing=0.3,
    )
    who = "Software" if path.suffix.lower() == ".png" else "Creator"
    with written_whole(path, own=True) as temporary:
        figure.savefig(temporary, dpi=150, metadata={who: MARK})


def _labels(runs: Sequence[Run]) -> list[str]:
    """Lines of the legend by run; runs of one setting share theirs where seeds are what differs."""
    of_run = settings(runs)
    counts = {label: of_run.count(label) for label in of_run}
    seeds = [run.overrides.get("seed") for run in runs]
    grouped = any(n > 1 for n in counts.values()) and len(set(of_run)) > 1
    distinct = len(set(zip(of_run, seeds, strict=True))) == len(runs) and None not in seeds
    if grouped and distinct:
        return [
            f"{label or 'defaults'} ({counts[label]} seeds)" if counts[label] > 1 else label
            for label in of_run
        ]
    return [f"{run.name}  {label}".rstrip() for run, label in zip(runs, of_run, strict=True)]


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
