"""Several training runs side by side: figures from each run's eval.csv, by run and by setting."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robobase.errors import UserError
from robobase.reading import read_csv, read_yaml

EVALUATIONS = "eval.csv"
_COLUMNS = {  # least and greatest value
    "env_steps": (0, 1e15),
    "total_time": (0, 1e10),
    "episode_success": (0, 1),
    "episode_reward": (-1e12, 1e12),
}
_OVERRIDES = Path(".hydra", "overrides.yaml")  # what was typed, as Hydra leaves it in a run folder
_RUN_RECORDS = ("config.yaml", ".hydra", "snapshots")  # that make a folder a run's
_MOST_TOLD = 5  # runs that are left out
_NO_SETTING = (
    "hydra",
    "resume_from",
    "experiment_name",
    "progress_bar",
    "trial",
)  # change no result


@dataclass(frozen=True)
class Run:
    """The evaluations of one training run, in order; each array has one value per evaluation."""

    name: str
    env_steps: NDArray[np.float64]
    total_time: NDArray[np.float64]  # s since the start of the training
    episode_success: NDArray[np.float64]  # rate, 0 to 1; nan where not reported
    episode_reward: NDArray[np.float64]
    overrides: dict[str, str] = field(default_factory=dict)  # key -> value, as typed

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


def find_runs(folders: Sequence[Path], say: Callable[[str], object] | None = None) -> list[Run]:
    """Reads the runs in `folders`; a folder of runs, or of multiruns, stands for all in it.

    A run without evaluations is left out, and `say` (default: to stderr) is told.

    Raises:
        UserError: a folder is missing, or no evaluations can be read in any of them.
    """
    say = say or (lambda line: print(line, file=sys.stderr))
    runs: dict[Path, Run] = {}
    refusals: list[str] = []
    for given in folders:
        if not given.is_dir():
            raise UserError(f"'{given}' is not a folder; give the folders of training runs")
        for folder in _runs_in(given):
            try:
                runs.setdefault(folder.resolve(), _read_run(folder))
            except UserError as error:
                refusals.append(str(error))
    if not runs:
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        raise UserError(f"{refusals[0]}{more}")
    for refusal in refusals[:_MOST_TOLD]:
        say(f"left out: {refusal}")
    if len(refusals) > _MOST_TOLD:
        say(f"left out: {len(refusals) - _MOST_TOLD} more runs that cannot be read")
    return list(runs.values())


def settings(runs: Sequence[Run]) -> list[str]:
    """Of each run what it was given and not all of them were: `env.stage=0 launch=demos`.

    The seed is left out: runs that differ in it alone have one setting.
    """
    given = [
        {
            key: value
            for key, value in run.overrides.items()
            if key != "seed" and key.split(".")[0] not in _NO_SETTING
        }
        for run in runs
    ]
    keys = sorted({key for one in given for key in one})
    differing = [key for key in keys if len({one.get(key) for one in given}) > 1]
    return [" ".join(f"{key}={one[key]}" for key in differing if key in one) for one in given]


def comparison_rows(runs: Sequence[Run], levels: Sequence[float]) -> list[list[str]]:
    """A header and one row per run: best and final success, env steps and time to each level.

    Where runs were given different settings or seeds, columns say which.
    """
    labels, seeds = settings(runs), [run.overrides.get("seed", "") for run in runs]
    told = {
        name: cells
        for name, cells in (("setting", labels), ("seed", seeds))
        if len(set(cells)) > 1 or (name == "seed" and any(cells) and len(runs) > 1)
    }
    header = ["run", *told, "evaluations", "env steps", "best success", "at step", "final success"]
    for level in levels:
        header += [f"steps to {level:.0%}", f"time to {level:.0%}"]
    rows = [header]
    for number, run in enumerate(runs):
        row = [
            run.name,
            *(cells[number] or "-" for cells in told.values()),
            str(len(run.env_steps)),
            f"{run.env_steps[-1]:,.0f}",
            _percent(run.episode_success[run.best]),
            f"{run.env_steps[run.best]:,.0f}",
            _percent(run.episode_success[-1]),
        ]
        for level in levels:
            first = run.first_reaching(level)
            if first is None:
                row += ["-", "-"]
            else:
                row += [f"{run.env_steps[first]:,.0f}", _duration(run.total_time[first])]
        rows.append(row)
    return rows


def setting_rows(runs: Sequence[Run], level: float) -> list[list[str]]:
    """A header and one row per setting over its seeds; empty where no setting has two runs.

    Success as the mean over the runs, with the lowest and the highest; steps and time to `level` as
    the median of those that reach it.
    """
    groups: dict[str, list[Run]] = {}
    for label, run in zip(settings(runs), runs, strict=True):
        groups.setdefault(label, []).append(run)
    if all(len(group) == 1 for group in groups.values()):
        return []
    header = ["setting", "seeds", "best success", "final success", f"reach {level:.0%}"]
    rows = [[*header, f"steps to {level:.0%}", f"time to {level:.0%}"]]
    for label, group in groups.items():
        reached = [(run, at) for run in group if (at := run.first_reaching(level)) is not None]
        steps = [run.env_steps[at] for run, at in reached]
        times = [run.total_time[at] for run, at in reached]
        rows.append(
            [
                label or "(all the same)",
                str(len(group)),
                _spread([run.episode_success[run.best] for run in group]),
                _spread([run.episode_success[-1] for run in group]),
                f"{len(reached)} of {len(group)}",
                f"{np.median(steps):,.0f}" if steps else "-",
                _duration(float(np.median(times))) if times else "-",
            ]
        )
    return rows


def _runs_in(folder: Path) -> Iterator[Path]:
    """The run folders that `folder` stands for: itself, or all below it; itself if there are none.

    In natural order: run 10 of a sweep comes after run 9.
    """
    if (folder / EVALUATIONS).exists():
        yield folder
        return
    if any((folder / name).exists() for name in _RUN_RECORDS):
        yield folder  # a run that has not evaluated yet
        return
    below = {file.parent for name in (EVALUATIONS, ".hydra") for file in folder.rglob(name)}
    yield from sorted(below, key=_naturally) or [folder]


def _naturally(folder: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in folder.parts]


def _read_run(folder: Path) -> Run:
    file = folder / EVALUATIONS
    if not file.exists():
        raise UserError(
            f"'{folder}' holds no {EVALUATIONS}; give the folder of a training run that has "
            "evaluated at least once (save_csv=true)"
        )
    header, rows = read_csv(file, what="evaluations", remedy="mend the file or leave the run out")
    rows = [row for row in rows if row]
    if not rows:
        raise UserError(f"'{file}' has no evaluations yet; wait for the run's first one")
    missing = [name for name in ("env_steps", "episode_reward") if name not in header]
    if missing:
        raise UserError(
            f"'{file}' has no column {' or '.join(missing)}; is it a run's {EVALUATIONS}?"
        )
    table = [dict(zip(header, row, strict=False)) for row in rows]
    try:
        columns = {
            name: np.array([float(row.get(name) or "nan") for row in table]) for name in _COLUMNS
        }
    except ValueError as error:
        raise UserError(f"'{file}' is damaged ({error}); mend or remove that line") from error
    for name, (least, most) in _COLUMNS.items():
        values = columns[name]
        unknown = np.isnan(values) if name != "env_steps" else np.zeros(len(values), bool)
        if not (unknown | ((values >= least) & (values <= most))).all():
            raise UserError(
                f"'{file}' is damaged ({name} must be {least:g} to {most:g}); mend or remove that "
                "line"
            )
    return Run("/".join(folder.resolve().parts[-2:]), **columns, overrides=_overrides(folder))


def _overrides(folder: Path) -> dict[str, str]:
    """What the run was given on its command line; nothing where that is not known."""
    file = folder / _OVERRIDES
    if not file.is_file():
        return {}
    words = read_yaml(file, what="overrides", remedy="remove the file")
    if not isinstance(words, list | None) or not all(isinstance(w, str) for w in words or ()):
        raise UserError(f"overrides {file} is no list of key=value; remove the file")
    pairs = [word.lstrip("+").split("=", 1) for word in words or () if "=" in word]
    return dict(pairs)


def _percent(rate: float) -> str:
    return "-" if np.isnan(rate) else f"{rate:.1%}"


def _spread(rates: Sequence[float]) -> str:
    known = [rate for rate in rates if not np.isnan(rate)]
    if not known:
        return "-"
    return f"{np.mean(known):.1%} ({min(known):.0%} to {max(known):.0%})"


def _duration(seconds: float) -> str:
    """`1:23:45` (hours, minutes, seconds), or `-` where the time was not reported."""
    if np.isnan(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
