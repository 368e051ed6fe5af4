"""What a run says of itself in its folder, `run.json`, and what became of it.

Readable without torch, and for folders that were written before there was such a file.
"""

import contextlib
import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from robobase import locks, run_snapshot
from robobase.errors import UserError, one_line
from robobase.reading import KIB, read_csv, read_json, read_text, read_yaml

FILE = "run.json"
FAILURE = "error.txt"
"""What a job of a multirun leaves that failed: why, on the first line."""

_TABLES = ("train.csv", "eval.csv")


class Status(StrEnum):
    """What became of a run."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"  # by a signal or the time limit
    FAILED = "failed"
    DIED = "died"  # killed, or its machine went down: it could say nothing
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class RunRecord:
    """How far a run is.

    Attributes:
        status: one of `Status`.
        reason: why it stopped or failed, or why nothing is known; one line.
        env_steps, num_train_frames: reached and wanted.
        seconds: that it took, over all its resumptions; None where that is not known.
        started, updated: when it first began and last wrote; ISO 8601, UTC; None if not known.
    """

    status: Status
    reason: str | None = None
    env_steps: int = 0
    num_train_frames: int = 0
    seconds: float | None = None
    started: str | None = None
    updated: str | None = None


def read(folder: str | Path) -> RunRecord:
    """What became of the run in `folder`; a folder that holds none is `unknown`.

    Nothing is written, and a run that is about to take the folder is not disturbed.
    """
    folder = Path(folder)
    held = locks.is_held(folder)
    record = stored(folder) or _judged(folder)
    if held:
        return replace(record, status=Status.RUNNING, reason=None)
    if record.status is not Status.FINISHED and (failure := _failure(folder)) is not None:
        return replace(record, status=Status.FAILED, reason=failure)
    if record.status is Status.RUNNING and held is not None:
        if locks.is_held(folder):  # it began just now
            return record
        return replace(record, status=Status.DIED, reason="ended without a word")
    return record


def stored(folder: Path) -> RunRecord | None:
    """What `run.json` says; None where there is none, or none that can be read."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return _checked(read_json(path, 64 * KIB, "record"))
    except (UserError, ValueError):
        return None


def write(folder: Path, record: RunRecord) -> None:
    """Put `record` in the place of the folder's one, in one move. Raises OSError."""
    temporary = folder / f".{FILE}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, folder / FILE)


def now() -> str:
    """The present second, as records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def clear_failure(folder: Path) -> None:
    """Forget how an earlier attempt at the run in `folder` failed."""
    with contextlib.suppress(OSError):
        (folder / FAILURE).unlink()


def _checked(content: Any) -> RunRecord:
    """Raises ValueError for what `write` does not write."""
    names = {field.name for field in fields(RunRecord)}
    if not isinstance(content, dict) or not names <= content.keys():
        raise ValueError("no record of a run")
    record = RunRecord(**{name: content[name] for name in names})
    for value in (record.reason, record.started, record.updated):
        if not isinstance(value, str | None):
            raise ValueError(f"{value!r} is no text")
    for count in (record.env_steps, record.num_train_frames):
        if type(count) is not int or count < 0:
            raise ValueError(f"{count!r} is no number of steps")
    if type(record.seconds) not in (float, int, type(None)):
        raise ValueError(f"{record.seconds!r} is no time")
    reason = None if record.reason is None else one_line(record.reason)
    return replace(record, status=Status(record.status), reason=reason)


def _failure(folder: Path) -> str | None:
    path = folder / FAILURE
    if not path.exists():
        return None
    try:
        lines = read_text(path).splitlines()
    except UserError as error:
        lines = [str(error)]
    return one_line(lines[0]) if lines else "unknown"


# ---- Folders without a record


def _judged(folder: Path) -> RunRecord:
    """By what the settings ask for and how far tables and snapshots have come."""
    file = folder / "config.yaml"
    if not file.is_file():
        return RunRecord(Status.UNKNOWN, "no run in it")
    try:
        config = read_yaml(file, what="config")
        reached, seconds = _last_rows(folder)
    except UserError as error:
        return RunRecord(Status.UNKNOWN, one_line(error))
    if not isinstance(config, dict) or type(config.get("num_train_frames")) is not int:
        return RunRecord(Status.UNKNOWN, f"{file} is no run's")
    wanted: int = config["num_train_frames"]
    saved = _saved_at(folder)
    record = RunRecord(
        Status.DIED,
        "ended without a word",
        env_steps=max(reached or 0, saved or 0),
        num_train_frames=wanted,
        seconds=seconds,
        updated=_newest(folder),
    )
    if _is_complete(config, reached, saved):
        return replace(record, status=Status.FINISHED, reason=None)
    if saved is not None and saved >= (reached or 0):
        return replace(record, status=Status.STOPPED, reason=None)
    if not wanted:  # pre-training alone, of which nothing tells whether it is done
        return replace(record, status=Status.UNKNOWN, reason=f"no {FILE}")
    return record


def _is_complete(config: Mapping[str, Any], reached: int | None, saved: int | None) -> bool:
    if config.get("num_train_envs") == 0:  # one evaluation
        return reached is not None
    wanted = config["num_train_frames"]
    last = saved if config.get("save_snapshot") else reached
    return wanted > 0 and last is not None and last >= wanted


def _last_rows(folder: Path) -> tuple[int | None, float | None]:
    """Env steps and seconds of the last rows of the tables. Raises UserError."""
    steps: list[int] = []
    seconds: list[float] = []
    for name in _TABLES:
        if not (folder / name).is_file():
            continue
        header, rows = read_csv(folder / name)
        row = dict(zip(header, rows[-1], strict=False)) if rows else {}
        with contextlib.suppress(KeyError, ValueError):
            steps.append(int(row["env_steps"]))
            seconds.append(float(row["total_time"]))
    return max(steps, default=None), max(seconds, default=None)


def _saved_at(folder: Path) -> int | None:
    """Env steps of the last numbered snapshot."""
    suffix = run_snapshot.SUFFIX
    names = [path.name.removesuffix(suffix) for path in folder.glob(f"snapshots/*{suffix}")]
    return max((int(name) for name in names if name.isascii() and name.isdigit()), default=None)


def _newest(folder: Path) -> str | None:
    """When a table or a snapshot was last written."""
    files = [*(folder / name for name in _TABLES), *folder.glob("snapshots/*.pt")]
    times = []
    for file in files:
        with contextlib.suppress(OSError):
            times.append(file.stat().st_mtime)
    if not times:
        return None
    return datetime.datetime.fromtimestamp(max(times), datetime.UTC).isoformat(timespec="seconds")
