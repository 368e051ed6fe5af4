"""A request to stop: SIGINT, SIGTERM or a time limit, asked for politely and seen by the loop."""

import signal
import threading
import time
from types import FrameType
from typing import Any, Self

TIME_LIMIT = "time limit"
"""Why to stop where nobody asked for it at this moment."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Context manager; inside it the first signal is noted in `reason`, the second one aborts.

    Args:
        time_limit_minutes: ask for a stop after this long; None for never.
    """

    def __init__(self, time_limit_minutes: float | None = None):
        self._deadline = (
            None if time_limit_minutes is None else time.monotonic() + 60 * time_limit_minutes
        )
        self._signal: str | None = None
        self._previous: dict[int, Any] = {}

    @property
    def reason(self) -> str | None:
        """Why to stop, or None to go on."""
        if self._signal:
            return self._signal
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return TIME_LIMIT
        return None

    def __bool__(self) -> bool:
        return self.reason is not None

    def __enter__(self) -> Self:
        # Python only lets the main thread install handlers; elsewhere the time limit still works.
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._note) for s in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
