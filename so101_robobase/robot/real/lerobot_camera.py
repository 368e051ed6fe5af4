"""A camera opened by LeRobot's `OpenCVCamera`, with a line for everything that goes wrong."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robobase.errors import UserError
from so101_robobase.base.extras import require_robot

TIMEOUT = 0.5
"""s without a new frame after which a camera counts as dead."""

_OPEN = 15.0  # s, at most; the first frame of some cameras takes long
_CLOSE = 1.0
_SLOWEST = 0.8  # of the frame rate that was asked for
_WATCH = 1.0  # s over which `open` measures the frame rate
_POLL = 0.05


class LeRobotCamera:
    """Frames of one camera.

    Args:
        source: index or path (/dev/video0) of the camera.
        width, height: pixels, which it must deliver.
        fps: frames a second; it must deliver four fifths of that.
        fourcc: how it sends pixels, such as MJPG; None: as it likes.

    Attributes:
        frame_rate: frames a second that were measured by `open`.
    """

    def __init__(
        self,
        source: int | str | Path,
        width: int = 640,
        height: int = 480,
        fps: int = 30,
        fourcc: str | None = None,
    ):
        text = str(source)
        self.source: int | Path = int(text) if text.isdecimal() else Path(text)
        self.width, self.height, self.fps, self.fourcc = width, height, fps, fourcc
        self.frame_rate = 0.0
        self._camera: Any = None

    def open(self) -> None:
        """Start it and see that frames come as asked for. Raises UserError."""
        self.close()
        opencv = require_robot("lerobot.cameras.opencv")
        if isinstance(self.source, Path) and not self.source.exists():
            raise UserError(f"camera {self.source} does not exist; {_there_are()}")
        config = opencv.OpenCVCameraConfig(
            index_or_path=self.source,
            fps=self.fps,
            width=self.width,
            height=self.height,
            color_mode="bgr",
            fourcc=self.fourcc,
        )
        camera = opencv.OpenCVCamera(config)
        self._camera = camera
        try:
            self._start(camera)
            self.frame_rate = self._measure()
        except BaseException:
            self.close()
            raise
        if self.frame_rate < _SLOWEST * self.fps:
            self.close()
            raise UserError(
                f"camera {self.source} is too slow: {self.frame_rate:.0f} frames a second instead "
                f"of {self.fps}; try more light (long exposures), MJPG, another USB port or a "
                "smaller size"
            )

    def grab(self) -> tuple[float, np.ndarray]:
        """When the newest frame came (s, monotonic), and it: (height, width, 3) uint8 BGR.

        Waits for a frame that has not been grabbed yet. Raises UserError where none comes.
        """
        camera = self._camera
        if camera is None:
            raise UserError(f"camera {self.source} is not open")
        ends = time.monotonic() + TIMEOUT
        while not camera.new_frame_event.wait(_POLL):
            if camera.thread is None or not camera.thread.is_alive():
                raise UserError(f"camera {self.source} has failed; {_CHECK}")
            if time.monotonic() > ends:
                raise UserError(f"camera {self.source} gave no frame for {TIMEOUT} s; {_CHECK}")
        with camera.frame_lock:
            camera.new_frame_event.clear()
            frame, came = camera.latest_frame, camera.latest_timestamp
        if frame is None or came is None:
            raise UserError(f"camera {self.source} was closed meanwhile")
        # LeRobot's times are of another clock, which is the same one on Linux alone.
        return time.monotonic() - (time.perf_counter() - came), frame

    def close(self) -> None:
        """Stop it; takes a second at most, even where the camera hangs. May be repeated."""
        camera, self._camera = self._camera, None
        if camera is None:
            return

        def stop() -> None:
            with contextlib.suppress(Exception):  # there is nobody who could do anything about it
                camera.disconnect()

        _within(_CLOSE, stop)

    def _start(self, camera: Any) -> None:
        try:
            if not _within(_OPEN, camera.connect):
                raise UserError(f"camera {self.source} does not open in {_OPEN:.0f} s; {_CHECK}")
        except TimeoutError as error:
            raise UserError(f"camera {self.source} gives no frames; {_CHECK}") from error
        except ConnectionError as error:
            raise UserError(f"camera {self.source} cannot be opened; {_there_are()}") from error
        except RuntimeError as error:
            self.close()
            raise UserError(f"camera {self.source} {self._refusal()}") from error

    def _refusal(self) -> str:
        """What it gives instead of what it was asked for; LeRobot's class does not keep that."""
        size, rate = (self.width, self.height), float(self.fps)
        offered = []
        _within(_OPEN, lambda: offered.append(_offer(self.source, size, rate)))
        if not offered or offered[0] == (size, rate):
            return f"has failed; {_CHECK}"
        (width, height), given = offered[0]
        if (width, height) != size:
            return (
                f"gives {width}x{height} pixels, not {self.width}x{self.height}; choose a size "
                "that it has (`v4l2-ctl --list-formats-ext` lists them)"
            )
        return (
            f"gives {given:g} frames a second at {width}x{height}, not {self.fps}; choose a rate "
            "that it has (`v4l2-ctl --list-formats-ext` lists them)"
        )

    def _measure(self) -> float:
        """Frames a second."""
        first, _ = self.grab()
        last, count = first, 0
        while last - first < _WATCH:
            last, _ = self.grab()
            count += 1
        return count / (last - first)


_CHECK = "check its plug, and that no other program uses it"


def _there_are() -> str:
    found = ", ".join(sorted(map(str, Path("/dev").glob("video*"))))
    return f"cameras here: {found}" if found else "there is no camera here"


def _offer(source: int | Path, size: tuple[int, int], rate: float) -> tuple[tuple[int, int], float]:
    """(width, height) and frames a second that a camera has when asked for others."""
    import cv2

    capture = cv2.VideoCapture(source if isinstance(source, int) else str(source), cv2.CAP_ANY)
    try:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        capture.set(cv2.CAP_PROP_FPS, rate)
        width = round(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        return (width, height), capture.get(cv2.CAP_PROP_FPS)
    finally:
        capture.release()


def _within(seconds: float, work: Callable[[], None]) -> bool:
    """Do `work` in a thread that is left behind if it takes longer; whether it was done.

    Raises what `work` raises.
    """
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    return not thread.is_alive()
