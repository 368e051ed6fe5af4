"""The log of a rollout: one JSON object per line, written at once, so that nothing is lost."""

import json
import math
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np


class EventLog:
    """Appends to `path` (None: keeps events in memory alone); the file appears with the first one.

    | key    | meaning                                                         |
    |--------|-----------------------------------------------------------------|
    | time   | s of the monotonic clock of this machine                        |
    | utc    | the same moment as people write it                              |
    | kind   | what happened: "hold", "stop", "limited", "fault", "released" … |
    | others | whatever belongs to it; nan and inf are written as text         |

    A log that cannot be written does not stop the arm's loop.

    Attributes:
        counts: how often each kind has occurred.
        lost: events that could not be written, as on a full disk.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self.counts: dict[str, int] = {}
        self.events: list[dict[str, Any]] = []
        self.lost = 0
        self._file = -1

    def add(self, kind: str, **details: Any) -> None:
        """Write one event."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        utc = datetime.now(UTC).isoformat(timespec="milliseconds")
        event = {"time": round(time.monotonic(), 4), "utc": utc, "kind": kind, **details}
        if self.path is None:
            self.events.append(event)
            return
        line = json.dumps(_plain(event), allow_nan=False) + "\n"
        try:
            self._write(self.path, line.encode())
        except OSError:
            self.lost += 1

    def close(self) -> None:
        """Free the file; may be repeated."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, path: Path, line: bytes) -> None:
        if self._file < 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if os.write(self._file, line) < len(line):
            raise OSError("only a part of it was written")


def _plain(value: Any) -> Any:
    """`value` as JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else str(value)
