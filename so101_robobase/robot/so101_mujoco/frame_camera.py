"""Frames made in this process, simulated or recorded, where LeRobot wants a camera."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from lerobot.cameras.camera import Camera
from lerobot.cameras.configs import ColorMode
from lerobot.utils.decorators import check_if_already_connected, check_if_not_connected

from so101_robobase.robot.so101_mujoco.config_frame_camera import FrameCameraConfig

SOURCES: dict[str, Callable[[], tuple[float, np.ndarray]]] = {}
"""By name: what gives the newest frame, as `SceneCamera.grab` does: its time (s, monotonic) and
(height, width, 3) uint8 BGR. Put one in before LeRobot makes the camera."""


class FrameCamera(Camera):
    """Asks its source in the thread that reads it; nothing runs in the background.

    Raises ValueError where the config names no known source.
    """

    def __init__(self, config: FrameCameraConfig):
        super().__init__(config)
        self.config = config
        if config.source not in SOURCES:
            raise ValueError(
                f"no source of frames is called {config.source!r}; known: {[*SOURCES]}"
            )
        self._grab = SOURCES[config.source]
        self._connected = False

    def __str__(self) -> str:
        return f"FrameCamera({self.config.source})"

    @property
    def is_connected(self) -> bool:
        """Between `connect` and `disconnect`."""
        return self._connected

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        """The known sources."""
        return [{"name": name, "type": "so101_frames", "id": name} for name in SOURCES]

    @check_if_already_connected
    def connect(self, warmup: bool = True) -> None:
        """Begin; `warmup` takes a frame."""
        self._connected = True
        if warmup:
            self.read()

    @check_if_not_connected
    def read(self, color_mode: ColorMode | None = None) -> np.ndarray:
        """The newest frame (height, width, 3) uint8. Raises RuntimeError if it has another size."""
        return self._frame()[1]

    @check_if_not_connected
    def async_read(self, timeout_ms: float = 200) -> np.ndarray:
        """The newest frame: a source never lets one wait."""
        return self._frame()[1]

    @check_if_not_connected
    def read_latest(self, max_age_ms: int = 500) -> np.ndarray:
        """The newest frame. Raises TimeoutError where that is older than `max_age_ms`."""
        exposed, frame = self._frame()
        age = 1e3 * (time.monotonic() - exposed)
        if age > max_age_ms:
            raise TimeoutError(
                f"{self}: the newest frame is {age:.0f} ms old, more than {max_age_ms}"
            )
        return frame

    @check_if_not_connected
    def disconnect(self) -> None:
        """No more frames; the source stays."""
        self._connected = False

    def _frame(self) -> tuple[float, np.ndarray]:
        exposed, bgr = self._grab()
        if bgr.shape != (self.height, self.width, 3):
            raise RuntimeError(
                f"{self} gave a frame of shape {bgr.shape}, not ({self.height}, {self.width}, 3)"
            )
        if self.config.color_mode == ColorMode.BGR:
            return exposed, bgr
        return exposed, np.ascontiguousarray(bgr[..., ::-1])
