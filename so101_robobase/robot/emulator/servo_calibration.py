"""How the encoders of an emulated arm sit on its joints, and LeRobot's calibration of that arm.

LeRobot's degrees count from the middle of a servo's calibrated range, 4095 to a turn where the
encoder has 4096: against the model they are short by 1/4096, 0.04 degrees at most.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from so101_robobase.arm.joints import JOINTS
from so101_robobase.arm.model import SO101
from so101_robobase.base.files import written_whole

COUNTS = 4096  # of the encoder, one turn
COUNT = 2 * np.pi / COUNTS  # rad
MIDDLE = (COUNTS - 1) / 2  # of every calibrated range
_FULL_TURN = SO101.roll_joint  # calibrated as a full turn by LeRobot
_GREATEST_OFFSET = 1500  # counts; the register holds 2047


@dataclass(frozen=True)
class ServoCalibration:
    """One motor's entry in LeRobot's file; positions and offset in counts."""

    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int


@dataclass(frozen=True)
class ArmCalibration:
    """One arm: entries in `JOINTS` order, and the joint angles (rad) at `MIDDLE`."""

    servos: tuple[ServoCalibration, ...]
    middle: tuple[float, ...]

    def as_lerobot(self) -> dict[str, dict[str, int]]:
        """What LeRobot keeps in its file: motor -> entry."""
        return {joint: asdict(servo) for joint, servo in zip(JOINTS, self.servos, strict=True)}


def calibrate(joint_range: np.ndarray, arm: int) -> ArmCalibration:
    """The calibration of emulated arm number `arm` with joints in `joint_range` (6, 2) rad.

    Ranges end at or within the joints' limits. Zero degrees are the model's zero for the five arm
    joints; the gripper's 0 to 100 are the ends of the model's jaw. Arms differ in where their
    encoders are mounted and so in their homing offsets.
    """
    rng = np.random.default_rng(arm)
    offsets = rng.integers(-_GREATEST_OFFSET, _GREATEST_OFFSET + 1, len(JOINTS))
    servos, middles = [], []
    for index, joint in enumerate(JOINTS):
        lower, upper = (float(limit) for limit in joint_range[index])
        middle = (lower + upper) / 2 if joint == "gripper" else 0.0
        half = max(upper - middle, middle - lower) / COUNT
        least = 0 if joint == _FULL_TURN else max(0, int(np.ceil(MIDDLE - half)))
        greatest = COUNTS - 1 - least
        servos.append(ServoCalibration(index + 1, 0, int(offsets[index]), least, greatest))
        middles.append(middle)
    return ArmCalibration(tuple(servos), tuple(middles))


def write_calibration(calibration: dict[str, dict[str, int]], path: Path) -> None:
    """Write LeRobot's calibration file."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(calibration, indent=4))
