"""An observer whose work is done in a thread of its own, so that the loop never waits for it."""

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from so101_robobase.robot.recording.records import PolicyTick

MOST_WAITING = 250
"""Ticks that may wait by default: ten seconds, about 240 MB with frames of 640x480."""


class BackgroundListener(ABC):
    """Hands all it is told to a thread, in order; the arrays of a tick must not change later on.

    A tick that finds `most_waiting` others waiting is dropped and counted; the beginnings and ends
    of episodes never are. After an error the thread does nothing more.

    Attributes:
        dropped: how many ticks were dropped.
        failure: what stopped the thread, or None.
    """

    def __init__(self, name: str, most_waiting: int = MOST_WAITING):
        self.dropped = 0
        self.failure: Exception | None = None
        self._most_waiting = most_waiting
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # A daemon, so that a rollout that dies on an error is not kept alive by its recorder.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def begin(self, episode: int) -> None:
        """Episode `episode` (from 0) begins."""
        self._jobs.put(partial(self._begin, episode))

    def tick(self, tick: PolicyTick) -> None:
        """The policy has taken a step."""
        if self._jobs.qsize() >= self._most_waiting:
            self.dropped += 1
        else:
            self._jobs.put(partial(self._tick, tick))

    def end(self, success: bool | None, keep: bool) -> None:
        """The episode is over."""
        self._jobs.put(partial(self._end, success, keep))

    def close(self) -> None:
        """Wait until all is done; closing twice is allowed. Never raises."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(job)
        self._do(self._close)

    def _do(self, job: Callable[[], None]) -> None:
        if self.failure is None:
            try:
                job()
            except Exception as error:
                self.failure = error
                self._failed(error)

    @abstractmethod
    def _begin(self, episode: int) -> None: ...

    @abstractmethod
    def _tick(self, tick: PolicyTick) -> None: ...

    @abstractmethod
    def _end(self, success: bool | None, keep: bool) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _failed(self, error: Exception) -> None:
        """Say so; called once, in the thread."""


def reason(error: Exception) -> str:
    """One short line about `error`."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]
