"""Time as the loop knows it: real, or a simulation's, which moves only when it is waited for."""

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Seconds that never go back."""

    def now(self) -> float:
        """The present, s."""

    def wait_until(self, when: float) -> None:
        """Return at `when`, or at once where that has passed."""


class RealClock:
    """The monotonic clock of this machine."""

    def now(self) -> float:
        return time.monotonic()

    def wait_until(self, when: float) -> None:
        while (left := when - time.monotonic()) > 0:
            time.sleep(left)


class SimulatedClock:
    """A clock that calls `advance(seconds)` for the time that somebody waits.

    Work between two waits takes no time, so a rollout on it is the same at every run.
    """

    def __init__(self, advance: Callable[[float], None]):
        self._advance = advance
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def wait_until(self, when: float) -> None:
        if when > self._now:
            self._advance(when - self._now)
            self._now = when
