"""The log of a rollout: one JSON object per line, written at once, so that nothing is lost."""

import json
import math
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from so101_robobase.base.closing import Closing

MEANINGS = {
    "connected": "the arm was connected, in this pose (degrees)",
    "episode": "an episode began",
    "episode_over": "an episode ended",
    "released": "torque was turned off; unconfirmed: in which motors that is not certain",
    "held": "the arm was left with torque on, as --on_stop hold says",
    "hold": "no new command was sent for the moment; the servos kept the last one",
    "go": "what made it hold was over",
    "stop": "the work was cut short",
    "limited": "a command was changed by safety limits: joint limit, step (too far in one tick), "
    "lead (too far before the joint), workspace, floor, descent (too fast down); or kept back, "
    "because the target was no number or the measured position jumped",
    "stale": "a command was not sent: the joints had been measured too long ago",
    "same_frame": "the policy acted once more on a picture that it had acted on: no newer one came",
    "bad_frame": "a picture was not used: black, overexposed, of one colour, torn or frozen",
    "bad_action": "the policy gave nan or inf; nothing was sent",
    "action_out_of_range": "the policy gave more than its full action; it was cut",
    "read_failed": "the joints did not answer in this tick",
    "write_failed": "the servos could not be told their goals in this tick",
    "health_failed": "a servo did not tell how it is",
    "retried": "something went wrong on the bus and was put right by asking again",
    "body": "a joint moved although nobody told it to, did not answer or bore too much at rest, or "
    "the arm was below the table by its encoders",
    "self_test": "before the first episode each joint turned a little there and back: which share "
    "of what it was told, or what was wrong",
    "not_settled": "a slow move ended more than 3 degrees from its goal: something is in the way, "
    "or a servo is weak",
    "watchdog_goes_on": "servos did not confirm that torque is off: they are told again and again",
    "log_restored": "this log, or its folder, had been removed; it was written anew, whole",
}
"""Kind of an event -> what has happened."""


def meanings(counts: Mapping[str, int]) -> str:
    """A line for each kind that occurred: how often, and what it means."""
    lines = [
        f"{count:>7}  {kind:<18}  {MEANINGS.get(kind, '')}".rstrip()
        for kind, count in sorted(counts.items())
    ]
    return "\n".join(["events, in events.jsonl:", *lines])


class EventLog(Closing):
    """Appends to `path` (None: keeps events in memory alone); the file appears with the first one.

    A file that somebody removes meanwhile is written again, whole.

    | key    | meaning                                                         |
    |--------|-----------------------------------------------------------------|
    | time   | s of the monotonic clock of this machine                        |
    | utc    | the same moment as people write it                              |
    | kind   | what happened, see `MEANINGS`                                   |
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
        self._lines: list[bytes] = []  # in the file

    def add(self, kind: str, **details: Any) -> None:
        """Write one event."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        utc = datetime.now(UTC).isoformat(timespec="milliseconds")
        event = {"time": round(time.monotonic(), 4), "utc": utc, "kind": kind, **details}
        if self.path is None:
            self.events.append(event)
            return
        line = (json.dumps(_plain(event), allow_nan=False) + "\n").encode()
        try:
            if self._file >= 0 and os.fstat(self._file).st_nlink == 0:
                self._restore(self.path)
            self._write(self.path, line)
        except OSError:
            self.lost += 1
        else:
            self._lines.append(line)

    def close(self) -> None:
        """Free the file; may be repeated."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _restore(self, path: Path) -> None:
        """Write a file that was removed once more. Raises OSError."""
        self.close()
        lines, self._lines = self._lines, []
        self.lost += len(lines)  # until they are there again
        for line in lines:
            self._write(path, line)
            self._lines.append(line)
            self.lost -= 1
        self.add("log_restored")

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
