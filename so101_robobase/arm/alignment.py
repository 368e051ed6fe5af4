"""From servo units to the model's radians and back, as measured for one arm: the one place for it.

`so101_robobase robot align` writes the file, training and rollout read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from robobase.errors import UserError
from robobase.reading import read_yaml
from so101_robobase.arm.joints import JOINTS, NUM_JOINTS
from so101_robobase.arm.servos import ServoModel
from so101_robobase.base.files import written_whole
from so101_robobase.base.settings import from_mapping, plain

GRIPPER = NUM_JOINTS - 1
_MOST_SERVO_UNITS = 1000  # degrees, or percent of the gripper: nearly three turns


@dataclass(frozen=True)
class CameraPose:
    """The wrist camera as the scene has it: m and rad in the gripper frame, fovy degrees."""

    pos: tuple[float, float, float]
    euler: tuple[float, float, float]
    fovy: float

    def __post_init__(self) -> None:
        if not np.isfinite((*self.pos, *self.euler, self.fovy)).all():
            raise UserError(f"camera pose holds nan or inf: {self}")
        if max(map(abs, self.pos)) > 1 or max(map(abs, self.euler)) > 2 * np.pi:
            raise UserError(f"camera pose is beyond 1 m or one turn: {self}")
        if not 0 < self.fovy < 180:
            raise UserError(f"camera.fovy={self.fovy} must lie between 0 and 180 degrees")


@dataclass(frozen=True)
class Alignment:
    """How one real arm differs from the model.

    model angle = direction * (servo degrees - zero), in rad; the gripper's servo units `closed` and
    `open` are the lower and the upper end of the model's jaw. Joints are in `JOINTS` order.
    `camera` and `servos` are None until they have been measured.
    """

    direction: tuple[int, int, int, int, int] = (1, 1, 1, 1, 1)
    zero: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)  # servo degrees
    gripper_closed: float = 0.0
    gripper_open: float = 100.0
    camera: CameraPose | None = None
    servos: ServoModel | None = None
    arm: str = ""  # LeRobot's id of the arm that was measured

    def __post_init__(self) -> None:
        for joint, direction in zip(JOINTS, self.direction, strict=False):
            if direction not in (-1, 1):
                raise UserError(
                    f"alignment direction of {joint} is {direction}; it must be 1 or -1"
                )
        values = (*self.zero, self.gripper_closed, self.gripper_open)
        if not np.isfinite(values).all():
            raise UserError(f"alignment holds nan or inf: {values}")
        if max(map(abs, values)) > _MOST_SERVO_UNITS:
            raise UserError(
                f"alignment has a zero beyond {_MOST_SERVO_UNITS} servo units: {values}"
            )
        if abs(self.gripper_open - self.gripper_closed) < 1:
            raise UserError(
                f"alignment has the gripper closed at {self.gripper_closed} and open at "
                f"{self.gripper_open}; measure again, they must differ"
            )


class Units:
    """Converts with `alignment` for a model whose joints have the limits `joint_range` (6, 2) rad.

    Arrays are (..., 6) in `JOINTS` order; nothing is clipped, nan stays nan.
    """

    def __init__(self, alignment: Alignment, joint_range: np.ndarray):
        lower, upper = np.asarray(joint_range, np.float64).T
        jaw = (upper[GRIPPER] - lower[GRIPPER]) / (
            alignment.gripper_open - alignment.gripper_closed
        )
        self._scale = np.append(np.deg2rad(np.array(alignment.direction, np.float64)), jaw)
        self._zero = np.append(np.array(alignment.zero, np.float64), alignment.gripper_closed)
        self._offset = np.append(np.zeros(GRIPPER), lower[GRIPPER])

    def to_model(self, servo: np.ndarray) -> np.ndarray:
        """Servo units -> rad."""
        return self._scale * (np.asarray(servo, np.float64) - self._zero) + self._offset

    def to_servo(self, model: np.ndarray) -> np.ndarray:
        """rad -> servo units."""
        return (np.asarray(model, np.float64) - self._offset) / self._scale + self._zero


def load(path: Path) -> Alignment:
    """Read an alignment file. Raises UserError if it is missing or not one."""
    values = read_yaml(path, what="alignment", remedy="make it with `so101_robobase robot align`")
    if not isinstance(values, dict):
        raise UserError(f"alignment {path} is empty; make it anew with `robot align`")
    return from_plain(values, str(path))


def measured_camera(path: Path) -> CameraPose:
    """The camera of an alignment file. Raises UserError if it holds none."""
    camera = load(path).camera
    if camera is None:
        raise UserError(f"alignment {path} holds no camera; measure it: `robot align camera`")
    return camera


def save(alignment: Alignment, path: Path) -> None:
    """Write an alignment file, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(yaml.safe_dump(to_plain(alignment), sort_keys=False))


def to_plain(alignment: Alignment) -> dict[str, Any]:
    """Dictionaries, lists and numbers, for YAML and JSON; `from_plain` reads them back."""
    return plain(alignment)


def from_plain(values: Mapping[str, Any], where: str = "alignment") -> Alignment:
    """The alignment that `to_plain` wrote. Raises UserError naming `where.key` for a bad value."""
    return from_mapping(Alignment, values, where)


def check_same_arm(alignment: Alignment, file: Path, calibration: Path) -> None:
    """UserError where `alignment`, of `file`, is of another arm than LeRobot's `calibration`."""
    if alignment.arm not in ("", calibration.stem):
        raise UserError(
            f"alignment {file} was measured on the arm {alignment.arm}, calibration {calibration} "
            f"is of {calibration.stem}; give the files of one arm"
        )
