"""The jobs in a sweep folder: which one is where, what became of it, and what is left to do.

A job is known by its overrides, whatever its number: those that Hydra left in its folder, or
`jobs.csv` where it failed before that. Readable without torch.
"""

import csv
import itertools
import os
import shlex
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from robobase import run_record, run_snapshot
from robobase.errors import UserError
from robobase.locks import FolderLock
from robobase.reading import read_csv, read_yaml
from robobase.run_record import Status

MULTIRUN = "multirun.yaml"
"""Of Hydra: the config of the sweep."""

INDEX = "jobs.csv"
COLUMNS = ("number", "folder", "overrides", "status", "env_steps", "success", "seconds")
_STATES = ("finished", "running", "queued", "resumed", "begun", "waiting")  # of `Plan`
_OVERRIDES = Path(".hydra", "overrides.yaml")
_RESUME = "resume_from="

Words = tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        folder: its name within the sweep's, by default a number.
        overrides: what was given to it alone and to all, without what resumes it.
    """

    folder: str
    overrides: Words

    @property
    def key(self) -> Words:
        """The same for jobs that do the same."""
        return tuple(sorted(self.overrides))


@dataclass(frozen=True)
class Plan:
    """What there is to do of a grid.

    Attributes:
        finished, running: need nothing; somebody else runs the latter.
        queued: need nothing; they wait or run on a cluster.
        resumed: go on from their latest snapshots.
        begun: have a folder, but no snapshot in it: they begin anew.
        waiting: have a place in the index, but no folder yet.
        new: in the order of the grid.
    """

    finished: tuple[Job, ...] = ()
    running: tuple[Job, ...] = ()
    queued: tuple[Job, ...] = ()
    resumed: tuple[Job, ...] = ()
    begun: tuple[Job, ...] = ()
    waiting: tuple[Job, ...] = ()
    new: tuple[Words, ...] = ()

    @property
    def is_fresh(self) -> bool:
        """Whether nothing of the grid was there before."""
        return not (self.finished or self.queued or self.waiting) and not self._is_begun

    @property
    def is_finished(self) -> bool:
        """Whether nothing of the grid is left, not even with somebody else."""
        return not (self.queued or self.waiting or self.new) and not self._is_begun

    @property
    def _is_begun(self) -> bool:
        return bool(self.running or self.resumed or self.begun)

    def __str__(self) -> str:
        """`3 finished, 1 to resume, 2 to start`."""
        counts: dict[str, Sequence[object]] = {
            "finished": self.finished,
            "run by another process": self.running,
            "with the cluster": self.queued,
            "to resume": self.resumed,
            "to begin anew": self.begun,
            "to start": self.waiting + self.new,
        }
        return ", ".join(f"{len(jobs)} {what}" for what, jobs in counts.items() if jobs)


def plan(root: Path, grid: Iterable[Words], queued: Collection[str] = ()) -> Plan:
    """What is left of `grid`, whose jobs are in the sweep folder `root` or not yet.

    Args:
        queued: folders of the jobs that wait or run on a cluster.
    """
    there = {job.key: job for job in known(root)}
    found: dict[str, list[Job]] = {name: [] for name in _STATES}
    new = []
    for words in dict.fromkeys(grid):
        job = there.get(tuple(sorted(words)))
        if job is None:
            new.append(words)
        else:
            state = "queued" if job.folder in queued else _left_to_do(root / job.folder)
            found[state].append(replace(job, overrides=words))
    return Plan(**{name: tuple(jobs) for name, jobs in found.items()}, new=tuple(new))


def _left_to_do(folder: Path) -> str:
    if not folder.is_dir():
        return "waiting"
    status = run_record.read(folder).status
    if status in (Status.FINISHED, Status.RUNNING):
        return str(status)
    return "resumed" if run_snapshot.latest(folder) is not None else "begun"


def known(root: Path) -> list[Job]:
    """The jobs of a sweep folder in natural order; of two that do the same the better one.

    Those that wait for their turn, without a folder yet, are among them.
    """
    listed = indexed(root)
    folders = {str(file.parents[1].relative_to(root)) for file in root.rglob(str(_OVERRIDES))}
    jobs: dict[Words, Job] = {}
    for name in sorted({*folders, *listed}, key=naturally):
        words = _words(root / name, listed.get(name))
        if words is None:
            continue
        job = Job(name, words)
        other = jobs.get(job.key)
        if other is None or _worth(root / job.folder) > _worth(root / other.folder):
            jobs[job.key] = job
    return sorted(jobs.values(), key=lambda job: naturally(job.folder))


def _worth(folder: Path) -> tuple[bool, bool, int]:
    record = run_record.read(folder)
    return record.status is Status.FINISHED, record.status is Status.RUNNING, record.env_steps


def _words(folder: Path, listed: Words | None) -> Words | None:
    """The overrides of the job in `folder`, without what resumed it."""
    file = folder / _OVERRIDES
    if not file.is_file():
        return listed
    try:
        words = read_yaml(file, what="overrides")
    except UserError:
        return listed
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return listed
    if listed is not None and _without_resuming(words) == _without_resuming(listed):
        return listed
    return tuple(word for word in words if not _resumes(word, folder))


def _without_resuming(words: Iterable[str]) -> list[str]:
    return [word for word in words if not word.lstrip("+").startswith(_RESUME)]


def _resumes(word: str, folder: Path) -> bool:
    """Whether an override resumes the run in `folder`, wherever the sweep was at that time."""
    key, _, value = word.lstrip("+").partition("=")
    if f"{key}=" != _RESUME:
        return False
    path = Path(value.strip("'\""))
    path = path.parent.parent if path.parent.name == run_snapshot.FOLDER else path
    return path.absolute().parts[-2:] == folder.absolute().parts[-2:]


def next_numbers(root: Path) -> Iterable[int]:
    """The numbers beyond those of the folders in `root` and of its index."""
    names = [*indexed(root), *(os.listdir(root) if root.is_dir() else ())]
    numbers = [int(name) for name in names if name.isascii() and name.isdigit()]
    return itertools.count(max(numbers, default=-1) + 1)


def begin_anew(folder: Path) -> None:
    """Remove what an attempt without a snapshot left in a job's folder.

    Raises:
        UserError: it holds a snapshot, or somebody works in it.
    """
    if not folder.is_dir():
        return
    with FolderLock(folder):
        if run_snapshot.latest(folder) is not None:
            raise UserError(f"{folder} holds a snapshot: resume_from={folder} goes on with it")
        shutil.rmtree(folder)


# ---- The index


def write_index(root: Path, jobs: Sequence[Job] = ()) -> None:
    """Write `jobs.csv`: `jobs`, and those that it or the folder has already, as they are now."""
    rows = {name: Job(name, words) for name, words in indexed(root).items()}
    rows |= {job.folder: job for job in known(root)}
    rows |= {job.folder: job for job in jobs}
    if not rows:
        return
    temporary = root / f".{INDEX}.{os.getpid()}.tmp"
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for place, name in enumerate(sorted(rows, key=naturally)):
            number = name if name.isdigit() else place  # where folders are named otherwise
            table.writerow([number, *_cells(root, rows[name])])
    os.replace(temporary, root / INDEX)


def _cells(root: Path, job: Job) -> list[str]:
    folder = root / job.folder
    words = shlex.join(job.overrides)
    if not folder.is_dir():
        return [job.folder, words, "not started", "", "", ""]
    record = run_record.read(folder)
    told = record.reason and record.status in (Status.FAILED, Status.FINISHED)  # why, or "pruned"
    status = record.status + (f": {record.reason}" if told else "")
    success = best_success(folder)
    return [
        job.folder,
        words,
        status,
        str(record.env_steps),
        "" if success is None else f"{success:g}",
        "" if record.seconds is None else f"{record.seconds:.0f}",
    ]


def best_success(folder: Path) -> float | None:
    """Success of the best evaluation of the run in `folder`, 0 to 1; None where it is not known."""
    try:
        header, rows = read_csv(folder / "eval.csv")
        column = header.index("episode_success")
        return max((float(row[column]) for row in rows if row[column]), default=None)
    except (UserError, ValueError, IndexError):
        return None


def indexed(root: Path) -> Mapping[str, Words]:
    """Folders and overrides of `jobs.csv`; whatever is no row of it is left out."""
    if not (root / INDEX).is_file():
        return {}
    try:
        header, rows = read_csv(root / INDEX)
        folder, overrides = header.index("folder"), header.index("overrides")
        pairs = [(row[folder], tuple(shlex.split(row[overrides]))) for row in rows]
    except (UserError, ValueError, IndexError):
        return {}
    return {name: words for name, words in pairs if _is_within(root, name)}


def _is_within(root: Path, name: str) -> bool:
    path = Path(name)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        return False
    return (root / path).resolve().is_relative_to(root.resolve())


def naturally(name: str) -> list[tuple[int, str]]:
    """To sort folders by: 10 comes after 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in Path(name).parts]
