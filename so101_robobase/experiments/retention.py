"""What of a run may be removed: what neither its best policy nor going on with it needs.

Kept are `best_snapshot.pt`, `latest_snapshot.pt`, what `snapshot_keeper.keep_every` asked for, and
every numbered snapshot of a run without a best or a latest one, because it may be that.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from robobase import run_snapshot
from robobase.run_record import Status
from robobase.settings.tree import at
from so101_robobase.experiments.runs import Run
from so101_robobase.experiments.videos import FOLDER as VIDEOS

_NUMBERED = re.compile(rf"(\d+){re.escape(run_snapshot.SUFFIX)}")
_LEFTOVER = re.compile(r"\..+\.\d+\.tmp(\.\w+)?|\..+\.part\.\w+")  # of writes that were killed


@dataclass(frozen=True)
class Removal:
    """Files of one run that can go."""

    run: Run
    snapshots: tuple[Path, ...]
    leftovers: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return self.snapshots + self.leftovers


def removal(run: Run) -> Removal:
    """Nothing of a run that is running."""
    if run.record.status is Status.RUNNING:
        return Removal(run, (), ())
    return Removal(run, tuple(_snapshots(run)), tuple(sorted(_leftovers(run.folder))))


def _snapshots(run: Run) -> Iterator[Path]:
    """Numbered ones that are no further name of the best or the latest."""
    folder = run.folder / run_snapshot.FOLDER
    named = [folder / run_snapshot.BEST, folder / run_snapshot.LATEST]
    if folder.is_symlink() or not all(path.is_file() for path in named):
        return
    numbered = {
        int(match[1]): path
        for path in folder.iterdir()
        if (match := _NUMBERED.fullmatch(path.name)) and _is_plain(path)
    }
    wanted = _kept_for_good(sorted(numbered), at(run.config, "snapshot_keeper.keep_every"))
    for step, path in sorted(numbered.items()):
        if step not in wanted and not any(path.samefile(one) for one in named):
            yield path


def _kept_for_good(steps: list[int], period: object) -> set[int]:
    """The first at or after each multiple of `period`, as the run's own keeper has it."""
    if type(period) is not int or period < 1:
        return set()
    first = {step // period: step for step in reversed(steps)}
    return {step for number, step in first.items() if number > 0}


def _leftovers(folder: Path) -> Iterator[Path]:
    for part in (folder, folder / run_snapshot.FOLDER, folder / VIDEOS):
        if part.is_dir() and not (part.is_symlink() and part != folder):
            yield from (p for p in part.iterdir() if _LEFTOVER.fullmatch(p.name) and _is_plain(p))


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
