"""The wrist camera of an emulator that runs: `--camera <its port>` in place of a number."""

import time

import cv2
import numpy as np

from robobase.errors import UserError
from so101_robobase.robot.emulator.attach import Emulator
from so101_robobase.robot.simulated.faulty_camera import CameraFaults
from so101_robobase.robot.simulated.scene_camera import SceneCamera

_NOISE = 2  # of 255, most: a sensor gives no two pictures that are alike
_BANK = 8  # patterns of noise


class EmulatedCamera:
    """A camera as `LeRobotCamera` is one. One thread must do everything, because of OpenGL."""

    def __init__(self, source: str, width: int = 640, height: int = 480, fps: int = 30):
        self.source, self.width, self.height, self.fps = source, width, height, fps
        self.frame_rate = 0.0
        self._emulator: Emulator | None = None
        self._camera: SceneCamera | None = None
        self._due = 0.0

    def open(self) -> None:
        """Start it. Raises UserError."""
        self.close()
        self._emulator = emulator = Emulator(self.source)
        # Drawn at half the size, which a processor without graphics can do in time.
        half = max(1, self.width // 2), max(1, self.height // 2)
        task = emulator.config.task
        scene = task.build_scene()
        self._camera = SceneCamera(scene, lambda: emulator.state().qpos, half, task.renderer)
        self._camera.open()
        self._faults = CameraFaults(emulator.state)
        rng = np.random.default_rng(0)
        self._noise = rng.integers(
            -_NOISE, _NOISE + 1, (_BANK, self.height, self.width, 3), np.int16
        )
        self._count = 0
        began, _ = self.grab()
        for _ in range(5):
            came, _ = self.grab()
        self.frame_rate = 5 / (came - began)

    def grab(self) -> tuple[float, np.ndarray]:
        """When the frame was taken (s, monotonic), and it: (height, width, 3) uint8 BGR."""
        if self._camera is None:
            raise UserError(f"camera {self.source} is not open")
        time.sleep(max(0.0, self._due - time.monotonic()))
        self._due = max(self._due + 1 / self.fps, time.monotonic())
        frame = cv2.resize(self._camera.grab()[1], (self.width, self.height))
        came = time.monotonic()
        self._count += 1
        noisy = np.clip(frame + self._noise[self._count % _BANK], 0, 255).astype(np.uint8)
        return came, self._faults.corrupt(noisy)

    def close(self) -> None:
        """Stop it; may be repeated."""
        camera, self._camera = self._camera, None
        emulator, self._emulator = self._emulator, None
        if camera is not None:
            camera.close()
        if emulator is not None:
            emulator.close()
