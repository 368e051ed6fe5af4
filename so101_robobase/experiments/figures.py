"""The figures of runs and of settings, plain: what report shows, and writes as CSV and JSON."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robobase import run_snapshot
from robobase.errors import UserError
from robobase.reading import MIB, read_json
from robobase.run_record import Status
from robobase.settings.tree import at
from so101_robobase.evaluation.statistics import wilson_interval
from so101_robobase.experiments.aggregate import Estimate, Scores, estimate, interquartile_mean
from so101_robobase.experiments.runs import Run, groups, settings

LEVEL = 0.9
"""The success whose first reaching is told."""

Figures = dict[str, Any]


def run_figures(runs: Sequence[Run]) -> list[Figures]:
    """A record per run; what is not known is None."""
    return [_of_run(run, label) for run, label in zip(runs, settings(runs), strict=True)]


def setting_figures(runs: Sequence[Run]) -> list[Figures]:
    """A record per setting with its runs that were evaluated."""
    return [_of_setting(label, group) for label, group in groups(runs).items()]


def final_scores(runs: Sequence[Run]) -> Scores:
    """Success of the last evaluation, per task. Of the best one it would be too high: a maximum."""
    return _per_task(runs, lambda run: run.episode_success[-1])


def mean_scores(runs: Sequence[Run]) -> Scores:
    """Success as the mean over the training (area under its curve), per task."""
    return _per_task(runs, _area)


def seconds_to(run: Run, level: float = LEVEL) -> float | None:
    first = run.first_reaching(level)
    return None if first is None else _known(run.total_time[first])


def _of_run(run: Run, label: str) -> Figures:
    snapshot = run.folder / run_snapshot.FOLDER / run_snapshot.BEST
    steps = int(run.env_steps[-1]) if run.is_evaluated else 0
    figures: Figures = {
        "run": run.name,
        "folder": str(run.folder),
        "setting": label,
        "seed": run.seed,
        "task": run.task,
        "observation": run.observation,
        "status": str(run.record.status),
        "reason": run.record.reason,
        "env_steps": max(run.record.env_steps, steps),
        "num_train_frames": run.record.num_train_frames,
        "seconds": run.record.seconds,
        "evaluations": len(run.env_steps),
        **dict.fromkeys(("best_success", "best_low", "best_high", "best_step", "final_success")),
        "steps_to_90": None,
        "seconds_to_90": None,
        "best_snapshot": str(snapshot) if snapshot.is_file() else None,
        **judged(run.folder),
        "remarks": "; ".join(run.remarks) or None,
    }
    if run.is_evaluated:
        best, first = run.best, run.first_reaching(LEVEL)
        success = _known(run.episode_success[best])
        low, high = (None, None) if success is None else interval(success, run.episodes)
        figures |= {
            "best_success": success,
            "best_low": low,
            "best_high": high,
            "best_step": int(run.env_steps[best]),
            "final_success": _known(run.episode_success[-1]),
            "steps_to_90": None if first is None else int(run.env_steps[first]),
            "seconds_to_90": seconds_to(run),
        }
    return figures


def interval(success: float, episodes: int | None) -> tuple[float | None, float | None]:
    """Wilson's, 95 %; unknown where the number of episodes is."""
    if episodes is None:
        return None, None
    return wilson_interval(round(success * episodes), episodes)


def judged(folder: Path) -> Figures:
    """What the newest `so101_robobase evaluate` of a snapshot of this run found."""
    found: Figures = dict.fromkeys(("judged", "judged_low", "judged_high", "judged_episodes"))
    for file in sorted(folder.glob("evaluation/*/evaluation.json"), reverse=True):
        try:
            summary = at(read_json(file, 64 * MIB), "summary")
            low, high = (float(x) for x in summary["success_interval"])
            values = float(summary["success_rate"]), low, high, int(summary["num_episodes"])
        except (UserError, KeyError, TypeError, ValueError):
            continue
        return dict(zip(found, values, strict=True))
    return found


def _of_setting(label: str, runs: Sequence[Run]) -> Figures:
    evaluated = [run for run in runs if run.is_evaluated]
    reached = [run for run in evaluated if run.first_reaching(LEVEL) is not None]
    steps = [float(run.env_steps[run.first_reaching(LEVEL)]) for run in reached]
    seconds = [value for run in reached if (value := seconds_to(run)) is not None]
    figures: Figures = {
        "setting": label,
        "runs": len(runs),
        "finished": sum(run.record.status is Status.FINISHED for run in runs),
        "evaluated": len(evaluated),
        "reach_90": len(reached),
        "median_steps_to_90": float(np.median(steps)) if steps else None,
        "median_seconds_to_90": float(np.median(seconds)) if seconds else None,
    }
    for name, scores in (("final", final_scores(runs)), ("area", mean_scores(runs))):
        figures |= dict.fromkeys((f"{name}_iqm", f"{name}_low", f"{name}_high"))
        if scores:
            figures[f"{name}_iqm"] = interquartile_mean(scores)
        if sum(map(len, scores)) > 1:  # one run tells nothing of how runs differ
            told = estimate(scores, interquartile_mean)
            figures |= {f"{name}_low": told.low, f"{name}_high": told.high}
    return figures


def estimate_of(figures: Mapping[str, Any], name: str) -> Estimate:
    """The `final` or `area` estimate in the record of a setting that was evaluated."""
    value, low, high = (figures[f"{name}_{part}"] for part in ("iqm", "low", "high"))
    return Estimate(value, value, value) if low is None else Estimate(value, low, high)


def _per_task(runs: Sequence[Run], score: Any) -> Scores:
    tasks: dict[str, list[float]] = {}
    for run in runs:
        value = score(run) if run.is_evaluated else math.nan
        if not math.isnan(value):
            tasks.setdefault(run.task, []).append(float(value))
    return [np.array(values) for _, values in sorted(tasks.items())]


def _area(run: Run) -> float:
    known = np.isfinite(run.episode_success)
    steps, success = run.env_steps[known], run.episode_success[known]
    if len(steps) < 2 or steps[-1] <= steps[0]:
        return float(success[-1]) if len(success) else math.nan
    return float(np.trapezoid(success, steps) / (steps[-1] - steps[0]))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
