"""Several training runs side by side: figures from each run's eval.csv, and their curves."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robobase.errors import UserError

EVALUATIONS = "eval.csv"
_COLUMNS = ("env_steps", "total_time", "episode_success", "episode_reward")


@dataclass(frozen=True)
class Run:
    """The evaluations of one training run, in order; each array has one value per evaluation."""

    name: str
    env_steps: NDArray[np.float64]
    total_time: NDArray[np.float64]  # s since the start of the training
    episode_success: NDArray[np.float64]  # rate, 0 to 1; nan where not reported
    episode_reward: NDArray[np.float64]

    @property
    def best(self) -> int:
        """Index of the evaluation with the highest success (ties: reward; nan is lowest)."""
        success = np.nan_to_num(self.episode_success, nan=-1.0)
        reward = np.nan_to_num(self.episode_reward, nan=-np.inf)
        return int(np.lexsort((reward, success))[-1])

    def first_reaching(self, success: float) -> int | None:
        """Index of the first evaluation with at least that success rate, or None."""
        reached = np.flatnonzero(self.episode_success >= success)
        return int(reached[0]) if reached.size else None


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """Reads the runs in `folders`; a folder of a multirun stands for all runs in it.

    Raises:
        UserError: a folder is missing, holds no evaluations, or they cannot be read.
    """
    runs: list[Run] = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"'{folder}' is not a folder; give the folders of training runs")
        files = [folder / EVALUATIONS]
        if not files[0].exists():
            files = sorted(folder.glob(f"*/{EVALUATIONS}"))
        if not files:
            raise UserError(
                f"'{folder}' holds no {EVALUATIONS}; give the folder of a training run that has "
                "evaluated at least once (save_csv=true)"
            )
        runs.extend(_read_run(file) for file in files)
    return runs


def comparison_rows(runs: Sequence[Run], levels: Sequence[float]) -> list[list[str]]:
    """A header and one row per run: best and final success, env steps and time to each level."""
    header = ["run", "evaluations", "env steps", "best success", "at step", "final success"]
    for level in levels:
        header += [f"steps to {level:.0%}", f"time to {level:.0%}"]
    rows = [header]
    for run in runs:
        row = [
            run.name,
            str(len(run.env_steps)),
            f"{run.env_steps[-1]:,.0f}",
            f"{run.episode_success[run.best]:.1%}",
            f"{run.env_steps[run.best]:,.0f}",
            f"{run.episode_success[-1]:.1%}",
        ]
        for level in levels:
            first = run.first_reaching(level)
            if first is None:
                row += ["-", "-"]
            else:
                row += [f"{run.env_steps[first]:,.0f}", _duration(run.total_time[first])]
        rows.append(row)
    return rows


def draw_curves(runs: Sequence[Run], path: Path) -> None:
    """Success and reward against env steps, one colour per run, as a PNG at `path`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    success, reward = figure.subplots(1, 2)
    for run in runs:
        success.plot(run.env_steps, run.episode_success, marker=".", label=run.name)
        reward.plot(run.env_steps, run.episode_reward, marker=".", label=run.name)
    success.set(ylim=(-0.03, 1.03), ylabel="evaluation success rate")
    reward.set(ylabel="evaluation reward")
    for axes in (success, reward):
        axes.set_xlabel("environment steps")
        axes.grid(alpha=0.3)
    figure.legend(*success.get_legend_handles_labels(), loc="outside lower center", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _read_run(file: Path) -> Run:
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    if not rows:
        raise UserError(f"'{file}' has no evaluations yet; wait for the run's first one")
    missing = [name for name in ("env_steps", "episode_reward") if name not in rows[0]]
    if missing:
        raise UserError(
            f"'{file}' has no column {' or '.join(missing)}; is it a run's {EVALUATIONS}?"
        )
    try:
        columns = {
            name: np.array([float(row.get(name) or "nan") for row in rows]) for name in _COLUMNS
        }
    except ValueError as error:
        raise UserError(f"'{file}' is damaged ({error}); mend or remove that line") from error
    return Run("/".join(file.resolve().parent.parts[-2:]), **columns)


def _duration(seconds: float) -> str:
    """`1:23:45` (hours, minutes, seconds), or `-` where the time was not reported."""
    if np.isnan(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
