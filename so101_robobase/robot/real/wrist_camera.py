"""The wrist camera that `--camera` names: one on this machine, or an emulated arm's."""

from typing import Protocol

import numpy as np

from so101_robobase.robot.person.hints import EMULATED_ARM, hints_for


class RatedCamera(Protocol):
    """A `sight.Camera` that knows how quick it is."""

    frame_rate: float  # frames a second, measured by `open`

    def open(self) -> None: ...

    def grab(self) -> tuple[float, np.ndarray]: ...

    def close(self) -> None: ...


def make_camera(source: str, width: int, height: int, fps: int) -> RatedCamera:
    """A camera, not open yet: that of the emulator whose port `source` is, or LeRobot's."""
    if hints_for(source) is EMULATED_ARM:
        from so101_robobase.robot.emulator.emulated_camera import EmulatedCamera

        return EmulatedCamera(source, width, height, fps)
    from so101_robobase.robot.real.lerobot_camera import LeRobotCamera

    return LeRobotCamera(source, width, height, fps)
