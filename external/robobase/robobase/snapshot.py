"""Run state on disk: written atomically, verified on reading, old files cleared away by rule.

What goes into a snapshot is the workspace's business; this module sees plain containers and
tensors only, so that every file loads with `torch.load(path, weights_only=True)`.
"""

import contextlib
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robobase import torch_file
from robobase.errors import UserError
from robobase.resume_checks import expect
from robobase.run_snapshot import BEST, LATEST, SUFFIX

_NUMBERED = re.compile(r"(\d+)" + re.escape(SUFFIX))

Score = tuple[float, ...]


def write(path: Path, payload: Mapping[str, Any]) -> None:
    """Write `payload` to `path` so that, whenever power fails, the old or the new file is there.

    Raises:
        UserError: the folder cannot be written or the disk is full; `path` is left as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            torch.save(dict(payload), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _fsync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        # torch hides the OSError of a full disk behind a RuntimeError of its own.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise UserError(
            f"cannot write snapshot {path}: {cause.strerror or cause}; the earlier snapshots are "
            "untouched; free space or choose a writable hydra.run.dir"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # what an error, or an interrupt, left half-written
            temporary.unlink()


def read(path: Path) -> dict[str, Any]:
    """Load a snapshot, tensors mapped from the file, as `torch_file.read` says.

    Raises:
        UserError: no such file, or it is truncated, altered or no snapshot (the message offers the
            newest good one beside it).
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"snapshot {path} does not exist{_offer(path)}")
    try:
        content = torch_file.read(path)
    except torch_file.DamagedFileError as error:
        raise UserError(f"snapshot {path} is damaged ({error}){_offer(path)}") from error
    if not isinstance(content, dict):
        raise UserError(f"snapshot {path} holds no mapping{_offer(path)}")
    return content


def _is_good(path: Path) -> bool:
    try:
        torch_file.check(path)
    except torch_file.DamagedFileError:
        return False
    return True


def _score_in(path: Path) -> Score | None:
    try:
        score = read(path).get("best_score")
    except UserError:
        return None
    return tuple(score) if isinstance(score, list | tuple) else None


def _offer(path: Path) -> str:
    good = next((p for p in _newest_first(path.parent) if p != path and _is_good(p)), None)
    return f"; use {good}" if good else "; there is no other snapshot beside it"


def _newest_first(folder: Path) -> list[Path]:
    files = [p for p in folder.glob("*" + SUFFIX) if not p.name.startswith(".")]
    return sorted(files, key=lambda p: p.stat().st_mtime_ns, reverse=True)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def success_then_reward(metrics: Mapping[str, Any]) -> Score:
    """Rank an evaluation by `episode_success` where it is reported, ties by `episode_reward`."""
    return float(metrics.get("episode_success", 0.0)), float(metrics["episode_reward"])


class SnapshotKeeper:
    """Names, keeps and clears the snapshots of one run.

    Args:
        directory: the folder of the snapshots.
        keep_last: number of newest numbered snapshots to keep (>= 1).
        keep_every: additionally keep the first snapshot at or after each multiple of this many env
            steps; None keeps none.
        ranking: evaluation metrics -> score; the snapshot with the highest is the best one.
    """

    def __init__(
        self,
        directory: Path,
        keep_last: int = 3,
        keep_every: int | None = None,
        ranking: Callable[[Mapping[str, Any]], Score] = success_then_reward,
    ):
        if keep_last < 1:
            raise UserError(
                f"snapshot_keeper.keep_last={keep_last} would keep no snapshot; give at least 1"
            )
        if keep_every is not None and keep_every < 1:
            raise UserError(
                f"snapshot_keeper.keep_every={keep_every}: give a number of env steps >= 1, or null"
            )
        self.directory = Path(directory)
        self.best_score: Score | None = None
        self._keep_last = keep_last
        self._keep_every = keep_every
        self._ranking = ranking

    @property
    def latest(self) -> Path:
        return self.directory / LATEST

    @property
    def best(self) -> Path:
        return self.directory / BEST

    def is_best(self, metrics: Mapping[str, Any]) -> bool:
        """Whether this evaluation is the best so far; the first one always is."""
        score = tuple(self._ranking(metrics))
        if self.best_score is not None and score <= self.best_score:
            return False
        self.best_score = score
        return True

    def save(self, payload: Mapping[str, Any], env_steps: int, best: bool = False) -> Path:
        """Write `<env_steps>_snapshot.pt`, point `latest` (and `best`) at it, clear old ones."""
        path = self.directory / f"{env_steps}{SUFFIX}"
        write(path, payload)
        if best:  # before `latest`: who continues there must not believe in a best never written
            _point(self.best, path)
        _point(self.latest, path)
        self._clear(env_steps)
        return path

    def state_dict(self) -> Score | None:
        """The score of the best snapshot."""
        return self.best_score

    def load_state_dict(self, score: Any) -> None:
        """Raises ValueError for what is no score."""
        expect(
            score is None
            or (
                isinstance(score, list | tuple)
                and 0 < len(score) < 10
                and all(type(x) in (int, float, bool) and not math.isnan(x) for x in score)
            ),
            "best_score",
        )  # -inf stands for a figure that was missing
        self.best_score = None if score is None else tuple(score)

    def carry_over_best(self, source: Path) -> None:
        """Take the file that `best_score` speaks of along from the `source` folder.

        Where it is gone, the score is forgotten: the next evaluation is then the best there is.
        """
        best = source / BEST
        if source.resolve() == self.directory.resolve():
            return
        if best.is_file() and _score_in(best) == self.best_score:
            self.directory.mkdir(parents=True, exist_ok=True)
            _point(self.best, best)
        else:
            self.best_score = None

    def _clear(self, now: int) -> None:
        """Keep to the rule, for a run at `now` env steps.

        Later snapshots are of a continuation that this run left behind, and it has not come so far.
        """
        steps = sorted(
            int(match[1])
            for file in self.directory.iterdir()
            if (match := _NUMBERED.fullmatch(file.name)) and int(match[1]) <= now
        )
        keep = set(steps[-self._keep_last :])
        if self._keep_every:
            first_in_period = {step // self._keep_every: step for step in reversed(steps)}
            keep |= {step for period, step in first_in_period.items() if period > 0}
        for step in set(steps) - keep:
            (self.directory / f"{step}{SUFFIX}").unlink()
        for leftover in self.directory.glob(f".*{SUFFIX}.*.tmp"):  # of a run that was killed
            leftover.unlink()


def _point(name: Path, target: Path) -> None:
    """Make `name` the same file as `target`, atomically: a hard link, or a copy where refused."""
    temporary = name.with_name(f".{name.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(target, temporary)
    except OSError:
        try:
            shutil.copyfile(target, temporary)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UserError(f"cannot write snapshot {name}: {error.strerror}") from error
    os.replace(temporary, name)
    _fsync_folder(name.parent)


def to_plain(value: Any) -> Any:
    """Numpy arrays and scalars inside nested containers become tensors and Python numbers."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape).clone()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_plain(item) for item in value)
    return value
