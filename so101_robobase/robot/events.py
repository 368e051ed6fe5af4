"""The log of a rollout: one JSON object per line, written at once, so that nothing is lost."""

import json
import time
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any


class EventLog:
    """Appends to `path` (None: keeps events in memory alone).

    | key    | meaning                                                         |
    |--------|-----------------------------------------------------------------|
    | time   | s of the monotonic clock of this machine                        |
    | utc    | the same moment as people write it                              |
    | kind   | what happened: "hold", "stop", "limited", "fault", "released" … |
    | others | whatever belongs to it                                          |

    Attributes:
        counts: how often each kind has occurred.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self.counts: dict[str, int] = {}
        self.events: list[dict[str, Any]] = []
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a", buffering=1) if path is not None else None  # noqa: SIM115

    def add(self, kind: str, **details: Any) -> None:
        """Write one event."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        utc = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        event = {"time": round(time.monotonic(), 4), "utc": utc, "kind": kind, **details}
        if self._file is None:
            self.events.append(event)
        else:
            self._file.write(json.dumps(event, default=str) + "\n")

    def close(self) -> None:
        """No more events."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
