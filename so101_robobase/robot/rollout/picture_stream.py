"""Pictures for the loop: made when asked for, or in a thread of their own, the newest wins."""

import atexit
import threading
from typing import Protocol

from robobase.errors import UserError
from so101_robobase.robot.loop.clock import Clock
from so101_robobase.robot.rollout.frame_watch import FrameWatch
from so101_robobase.robot.rollout.picture import Picture
from so101_robobase.robot.rollout.policy_camera import PolicyCamera


class PictureStream(Protocol):
    """What the loop asks for pictures."""

    def start(self) -> None:
        """Begin to look; returns when the first picture is there. May be repeated, not after
        `close`. Raises UserError."""

    def latest(self) -> Picture:
        """The newest picture, at once; its time says how old it is. Raises UserError."""

    def close(self) -> None:
        """Stop looking."""


class PromptPictures:
    """Looks when asked, in the caller's thread: for clocks that stand still meanwhile."""

    def __init__(self, camera: PolicyCamera):
        self._camera, self._watch = camera, FrameWatch()
        self._open = False

    def start(self) -> None:
        if not self._open:
            self._camera.open()
            self._open = True

    def latest(self) -> Picture:
        return self._watch.note(self._camera.look())

    def close(self) -> None:
        self._camera.close()


class BackgroundPictures:
    """Looks all the time in a thread; whoever asks gets the newest, never waits.

    Args:
        interval: least time between two looks, s, so that a quick source leaves the cores alone.
        patience: how long `start` waits for the first picture, s. Cameras and networks have limits
            of their own; a network may have to be downloaded.
    """

    def __init__(
        self, camera: PolicyCamera, clock: Clock, interval: float = 0.0, patience: float = 600.0
    ):
        self._camera, self._watch, self._clock = camera, FrameWatch(), clock
        self._interval, self._patience = interval, patience
        self._newest: Picture | None = None
        self._error: UserError | None = None
        self._first = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sight", daemon=True)

    def start(self) -> None:
        if self._thread.ident is None:
            self._thread.start()
        if not self._first.wait(self._patience):
            raise UserError(f"no picture within {self._patience:g} s; check the camera")
        if self._error is not None:
            raise self._error
        # Before OpenGL is taken from a thread that draws: exit handlers run last in, first out.
        atexit.register(self.close)

    def latest(self) -> Picture:
        if self._error is not None:
            raise self._error
        assert self._newest is not None, "start first"
        return self._newest

    def close(self) -> None:
        atexit.unregister(self.close)
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def _run(self) -> None:
        try:
            self._camera.open()
            while not self._stop.is_set():
                due = self._clock.now() + self._interval
                self._newest = self._watch.note(self._camera.look())
                self._first.set()
                self._clock.wait_until(due)
        except UserError as error:
            self._error = error
        except Exception as error:
            self._error = UserError(
                f"the camera's pictures stopped: {type(error).__name__}: {error}"
            )
        finally:
            self._first.set()
            self._camera.close()
