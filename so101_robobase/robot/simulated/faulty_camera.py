"""What an emulated arm's `faults.CAMERA` do to the pictures of whoever looks through its camera."""

from collections.abc import Callable

import numpy as np

from so101_robobase.robot.emulator.faults import CAMERA
from so101_robobase.robot.emulator.shared import BusState
from so101_robobase.robot.rollout.picture import Picture
from so101_robobase.robot.rollout.policy_camera import PolicyCamera
from so101_robobase.vision.observation import ClassId

_GREEN = np.array([0, 135, 0], np.uint8)  # what a decoder makes of zeros
_FLAT = np.array([120, 120, 120], np.uint8)


class CameraFaults:
    """Spoils one picture after the other as `state` says.

    Args:
        state: of the emulator.
    """

    def __init__(self, state: Callable[[], BusState]):
        self._state = state
        self._count = 0
        self._last: np.ndarray | None = None

    def corrupt(self, picture: np.ndarray) -> np.ndarray:
        """`picture` (h, w, C) uint8, or what is left of it: C is 3 for colours.

        Class ids have no colours: what is black or green has no class, and disparity 0.
        """
        state = self._state()
        self._count += 1
        kind = list(CAMERA)[state.camera - 1] if state.camera else ""
        if kind == "camera_frozen" and self._last is not None:
            return self._last
        if kind and self._count % state.camera_every == 0:
            picture = _corrupted(picture, kind)
        self._last = picture
        return picture


class FaultyPolicyCamera:
    """An emulated arm's `camera` under its faults."""

    def __init__(self, camera: PolicyCamera, faults: CameraFaults):
        self._camera, self._faults = camera, faults

    def open(self) -> None:
        self._camera.open()

    def look(self) -> Picture:
        seen = self._camera.look()
        picture = self._faults.corrupt(np.moveaxis(seen.picture, 0, -1))
        return seen._replace(picture=np.ascontiguousarray(np.moveaxis(picture, -1, 0)))

    def close(self) -> None:
        self._camera.close()


def _corrupted(picture: np.ndarray, kind: str) -> np.ndarray:
    half = picture.shape[0] // 2
    spoilt = picture.copy()
    has_colors = picture.shape[-1] == 3
    if kind == "camera_stuck_rows":
        spoilt[half:] = picture[half]
    elif kind == "camera_torn":
        spoilt[half:] = _GREEN if has_colors else ClassId.UNLABELED
    elif not has_colors:
        spoilt[..., 0] = ClassId.UNLABELED if kind == "camera_black" else ClassId.TABLE
        spoilt[..., 1:] = 0
    else:
        spoilt[:] = {"camera_black": 0, "camera_white": 255, "camera_flat": _FLAT}[kind]
    return spoilt
