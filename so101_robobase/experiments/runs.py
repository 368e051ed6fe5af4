"""Training runs as they lie on disk: evaluations, settings, what became of them."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robobase import run_record
from robobase.errors import UserError, one_line
from robobase.reading import read_csv, read_yaml
from robobase.run_record import RunRecord, Status
from robobase.settings.tree import at
from robobase.sweep_jobs import indexed, naturally

EVALUATIONS = "eval.csv"
_COLUMNS = {  # least and greatest value
    "env_steps": (0, 1e15),
    "total_time": (0, 1e10),
    "episode_success": (0, 1),
    "episode_reward": (-1e12, 1e12),
}
_CONFIG = "config.yaml"
_OVERRIDES = Path(".hydra", "overrides.yaml")  # what was typed, as Hydra leaves it in a run folder
_RUN_RECORDS = (_CONFIG, ".hydra", "snapshots", run_record.FILE)  # that make a folder a run's
_BELOW = (
    EVALUATIONS,
    ".hydra",
    run_record.FILE,
    run_record.FAILURE,
)  # that are looked for below it
_UNKNOWN = RunRecord(Status.UNKNOWN)
_MOST_TOLD = 5  # runs that are left out
NO_SETTING = ("hydra", "resume_from", "experiment_name", "progress_bar", "trial")
"""First words of keys that change no result."""


@dataclass(frozen=True)
class Run:
    """The evaluations of one training run, in order; each array has one value per evaluation."""

    name: str
    env_steps: NDArray[np.float64]
    total_time: NDArray[np.float64]  # s since the start of the training
    episode_success: NDArray[np.float64]  # rate, 0 to 1; nan where not reported
    episode_reward: NDArray[np.float64]
    overrides: dict[str, str] = field(default_factory=dict)  # key -> value, as typed
    config: dict[str, Any] = field(default_factory=dict)  # as in config.yaml, in groups
    folder: Path = Path()
    record: RunRecord = _UNKNOWN
    remarks: tuple[str, ...] = ()  # what cannot be read of it

    @property
    def is_evaluated(self) -> bool:
        return bool(self.env_steps.size)

    @property
    def task(self) -> str:
        """`so101_lift`; empty where it is not known."""
        return str(at(self.config, "env.env_name") or "")

    @property
    def observation(self) -> str:
        """`seg_depth`, or `state` for numbers alone; empty where it is not known."""
        pixels = str(at(self.config, "env.observation") or "")
        return "state" if at(self.config, "pixels") is False else pixels

    @property
    def episodes(self) -> int | None:
        """Of each evaluation; None where it is not known."""
        number = at(self.config, "num_eval_episodes")
        return number if type(number) is int and number > 0 else None

    @property
    def seed(self) -> str:
        return self.overrides.get("seed") or str(at(self.config, "seed") or "")

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


def find_runs(
    folders: Sequence[Path], say: Callable[[str], object] | None = None, evaluated: bool = True
) -> list[Run]:
    """Reads the runs in `folders`; a folder of runs, or of multiruns, stands for all in it.

    Args:
        say: is told what cannot be read (default: to stderr).
        evaluated: leave out runs without evaluations; otherwise they are among the others, with
            remarks.

    Raises:
        UserError: a folder is missing, or there is no such run in any of them.
    """
    say = say or (lambda line: print(line, file=sys.stderr))
    found = list(dict.fromkeys(path for given in folders for path in run_folders(given)))
    if not evaluated:
        runs = [read_run(folder) for folder in found]
        _say_some(say, [remark for run in runs for remark in run.remarks], "{} more such remarks")
        return runs
    runs, refusals = [], []
    for folder in found:
        try:
            runs.append(_run(folder, _evaluations(folder), _overrides(folder)))
        except UserError as error:
            refusals.append(str(error))
    if not runs:
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        raise UserError(f"{refusals[0]}{more}")
    refusals = [f"left out: {refusal}" for refusal in refusals]
    _say_some(say, refusals, "left out: {} more runs that cannot be read")
    return runs


def run_folders(given: Path) -> list[Path]:
    """The run folders that `given` stands for: itself, or all below it; in natural order.

    Raises:
        UserError: it is no folder, or holds no run.
    """
    if not given.is_dir():
        raise UserError(f"'{given}' is not a folder; give the folders of training runs")
    if is_run(given):
        return [given]
    below = {file.parent for name in _BELOW for file in given.rglob(name)}
    if not below:
        raise UserError(
            f"'{given}' holds no {EVALUATIONS} and nothing else of a run; give the folder of a "
            "training run, or one of runs or sweeps"
        )
    return sorted(below, key=lambda folder: naturally(str(folder)))


def is_run(folder: Path) -> bool:
    """Whether `folder` is that of one run."""
    return any((folder / name).exists() for name in (EVALUATIONS, *_RUN_RECORDS))


def settings(runs: Sequence[Run]) -> list[str]:
    """Of each run what it was given and not all of them were: `env.stage=0 launch=demos`.

    The seed is left out: runs that differ in it alone have one setting.
    """
    given = [
        {
            key: value
            for key, value in run.overrides.items()
            if key != "seed" and key.split(".")[0] not in NO_SETTING
        }
        for run in runs
    ]
    keys = sorted({key for one in given for key in one})
    differing = [key for key in keys if len({one.get(key) for one in given}) > 1]
    return [" ".join(f"{key}={one[key]}" for key in differing if key in one) for one in given]


def groups(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by their setting, in order."""
    found: dict[str, list[Run]] = {}
    for label, run in zip(settings(runs), runs, strict=True):
        found.setdefault(label, []).append(run)
    return found


def mixtures(runs: Sequence[Run]) -> list[str]:
    """A sentence for each thing that makes figures of these runs hard to compare."""
    told = {
        "task": ("tasks", "success is not the same thing in each"),
        "observation": ("observations", "those told where the cube is have it easier"),
        "version": ("reward versions", "returns are not in the same units, success is"),
        "episodes": ("numbers of evaluation episodes", "intervals are not equally wide"),
    }
    sentences = []
    for name, (what, why) in told.items():
        values = [
            at(run.config, "env.reward_version") if name == "version" else getattr(run, name)
            for run in runs
        ]
        known = list(dict.fromkeys(str(value) for value in values if value))
        if len(known) > 1:
            sentences.append(f"runs of different {what} ({', '.join(known)}): {why}")
    return sentences


def read_run(folder: Path) -> Run:
    """The run in `folder`, whatever can be read of it; the rest is among its remarks."""
    remarks: list[str] = []
    columns: dict[str, NDArray[np.float64]] = {name: np.empty(0) for name in _COLUMNS}
    overrides: dict[str, str] = {}
    try:
        columns = _evaluations(folder)
    except UserError as error:
        record = run_record.read(folder)
        failed = record.status is Status.FAILED
        remarks.append(f"'{folder}' failed: {record.reason}" if failed else one_line(error))
    try:
        overrides = _overrides(folder)
    except UserError as error:
        remarks.append(one_line(error))
    if (folder / run_record.FILE).exists() and run_record.stored(folder) is None:
        remarks.append(
            f"'{folder / run_record.FILE}' is damaged; how far the run is was read from its tables"
        )
    if (folder / _CONFIG).exists() and not _config(folder):
        remarks.append(f"'{folder / _CONFIG}' is damaged; task and settings are not known")
    return _run(folder, columns, overrides, tuple(remarks))


def _run(
    folder: Path,
    columns: dict[str, NDArray[np.float64]],
    overrides: dict[str, str],
    remarks: tuple[str, ...] = (),
) -> Run:
    return Run(
        _name(folder),
        columns["env_steps"],
        columns["total_time"],
        columns["episode_success"],
        columns["episode_reward"],
        overrides=overrides,
        config=_config(folder),
        folder=folder,
        record=run_record.read(folder),
        remarks=remarks,
    )


def _name(folder: Path) -> str:
    return "/".join(folder.resolve().parts[-2:])


def _config(folder: Path) -> dict[str, Any]:
    """Of its config.yaml; empty where that cannot be read."""
    try:
        content = read_yaml(folder / _CONFIG, what="config")
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}


def _say_some(say: Callable[[str], object], lines: Sequence[str], more: str) -> None:
    for line in lines[:_MOST_TOLD]:
        say(line)
    if len(lines) > _MOST_TOLD:
        say(more.format(len(lines) - _MOST_TOLD))


def _evaluations(folder: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of its eval.csv. Raises UserError where there are none, or none to be used."""
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
    return columns


def _overrides(folder: Path) -> dict[str, str]:
    """What the run was given on its command line; nothing where that is not known.

    Of a job that failed before it had a config its sweep knows.
    """
    file = folder / _OVERRIDES
    if not file.is_file():
        return _pairs(indexed(folder.parent).get(folder.name, ()))
    words = read_yaml(file, what="overrides", remedy="remove the file")
    if not isinstance(words, list | None) or not all(isinstance(w, str) for w in words or ()):
        raise UserError(f"overrides {file} is no list of key=value; remove the file")
    return _pairs(words or ())


def _pairs(words: Sequence[str]) -> dict[str, str]:
    return dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)
