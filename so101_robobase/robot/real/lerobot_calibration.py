"""LeRobot's calibration file of an arm, and whether it is that of the arm on the port."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robobase.errors import UserError
from robobase.reading import read_json
from so101_robobase.arm.alignment import GRIPPER
from so101_robobase.arm.joints import JOINTS, NUM_JOINTS
from so101_robobase.base.extras import require_robot
from so101_robobase.robot.real.ports import IDS
from so101_robobase.robot.real.servo_registers import ServoSettings

GREATEST = 4095
"""Counts of the encoder go from 0 to this; LeRobot takes it for a full turn."""

_OLD = {"homing_offset", "drive_mode", "start_pos", "end_pos"}  # lists, one entry for each motor
_MOST_SHOWN = 5
_MOST_OFFSET = 2047  # counts; the servo's register holds no more
_SLACK = 40  # counts (3.5 degrees) beyond its range where a joint that is pushed may be
_ANOTHER_ARM = 4  # motors with other offsets; a repaired servo explains one
_MAKE = "make it with `lerobot-calibrate --robot.type=so101_follower --robot.port=… --robot.id=…`"


class StoredCalibration(NamedTuple):
    """What a servo keeps of its calibration."""

    homing_offset: int  # counts, as all
    range_min: int
    range_max: int

    def __str__(self) -> str:
        return f"offset {self.homing_offset}, range {self.range_min} to {self.range_max}"


FACTORY = StoredCalibration(0, 0, GREATEST)


class Calibration:
    """One arm's file. Joints are in `JOINTS` order; positions are (6,).

    Raises UserError: the file is missing or not LeRobot's for this arm.

    Attributes:
        kept: what the servos of this arm keep.
    """

    def __init__(self, path: Path):
        self.path = path
        entries = _entries(path)
        self.kept = tuple(
            StoredCalibration(entry["homing_offset"], entry["range_min"], entry["range_max"])
            for entry in entries
        )
        self.lower = np.array([kept.range_min for kept in self.kept])  # counts
        self.upper = np.array([kept.range_max for kept in self.kept])
        self._zero = (self.lower + self.upper) / 2
        self._scale = np.full(NUM_JOINTS, 360 / GREATEST)  # servo units per count
        # LeRobot heeds drive_mode for the gripper alone.
        closed, opened = self.lower[GRIPPER], self.upper[GRIPPER]
        if entries[GRIPPER]["drive_mode"]:
            closed, opened = opened, closed
        self._zero[GRIPPER] = closed
        self._scale[GRIPPER] = 100 / (opened - closed)

    def to_servo(self, counts: np.ndarray) -> np.ndarray:
        """Counts -> servo units as LeRobot gives them: the gripper is held within 0 to 100."""
        servo = (np.asarray(counts, np.float64) - self._zero) * self._scale
        servo[..., GRIPPER] = np.clip(servo[..., GRIPPER], 0, 100)
        return servo

    def to_counts(self, servo: np.ndarray) -> np.ndarray:
        """Servo units -> the nearest counts within the calibrated range."""
        counts = np.rint(np.asarray(servo, np.float64) / self._scale + self._zero)
        return np.clip(counts, self.lower, self.upper).astype(int)

    def difference(self, found: Mapping[str, StoredCalibration]) -> str | None:
        """How motors that keep `found` differ from the file, and what to do; None: not at all."""
        file = dict(zip(JOINTS, self.kept, strict=True))
        wrong = [joint for joint in found if found[joint] != file[joint]]
        if not wrong:
            return None
        first = wrong[0]
        where = f"{first} has {file[first]} in {self.path}, but its servo keeps {found[first]}"
        origin = {a: [b for b in wrong if found[b] == file[a]] for a in wrong}
        others = [joint for joint in wrong[1:] if found[joint] != FACTORY]
        if found[first] == FACTORY and not others:
            return (
                f"{where}, the factory's: run `lerobot-calibrate` with this file's id and press "
                "Enter to write the file to the servos"
            )
        if len(wrong) > 1 and all(origin.values()):
            return (
                f"{where}: the ids of {' and '.join(wrong)} are swapped; give each servo its id "
                "with `lerobot-setup-motors`, or check which cable goes where"
            )
        if sum(found[joint].homing_offset != file[joint].homing_offset for joint in wrong) >= (
            _ANOTHER_ARM
        ):
            return (
                f"{where}; so for {len(wrong)} of {NUM_JOINTS} motors: this is the calibration of "
                "another arm; give this arm's file, or calibrate with `lerobot-calibrate`"
            )
        more = f" (also {', '.join(wrong[1:])})" if len(wrong) > 1 else ""
        return f"{where}{more}; calibrate this arm again with `lerobot-calibrate`"

    def out_of_range(self, counts: Mapping[str, int]) -> str | None:
        """Which motor stands where it cannot, and what to do; None: all are well."""
        for joint, kept in zip(JOINTS, self.kept, strict=True):
            position = counts.get(joint, kept.range_min)
            if not kept.range_min - _SLACK <= position <= kept.range_max + _SLACK:
                return (
                    f"{joint} stands at {position} counts, outside its calibrated range "
                    f"{kept.range_min} to {kept.range_max}: its horn has slipped or the range was "
                    "not gone through; calibrate this arm again with `lerobot-calibrate`"
                )
        return None


def kept_by(settings: Mapping[str, ServoSettings]) -> dict[str, StoredCalibration]:
    """What motors keep of their calibration, of all that they keep."""
    return {
        motor: StoredCalibration(found.homing_offset, found.range_min, found.range_max)
        for motor, found in settings.items()
    }


def default_folder() -> Path:
    """Where LeRobot keeps the calibration files of SO-101 arms. Needs LeRobot."""
    constants = require_robot("lerobot.utils.constants")
    name = require_robot("lerobot.robots.so_follower").SO101Follower.name
    return Path(constants.HF_LEROBOT_CALIBRATION) / constants.ROBOTS / name


def _entries(path: Path) -> list[dict[str, int]]:
    """The file's entries, checked, in `JOINTS` order."""
    others = [] if path.exists() else sorted(path.parent.glob("*.json"))[:_MOST_SHOWN]
    remedy = f"there are: {', '.join(map(str, others))}" if others else _MAKE
    content = read_json(path, what="calibration", remedy=remedy)
    if isinstance(content, dict) and set(content) >= _OLD:
        raise UserError(
            f"calibration {path} is of LeRobot's format from before mid-2025, which counts "
            f"otherwise and is not converted; calibrate the arm once more: {_MAKE}"
        )
    if not isinstance(content, dict) or set(content) != set(JOINTS):
        names = ", ".join(content)[:100] if isinstance(content, dict) else "no motors"
        raise UserError(
            f"calibration {path} is not that of an SO-101: it holds {names}; it must hold "
            f"{', '.join(JOINTS)}"
        )
    return [
        _entry(path, joint, id_, content[joint]) for joint, id_ in zip(JOINTS, IDS, strict=True)
    ]


def _entry(path: Path, joint: str, id_: int, entry: Any) -> dict[str, int]:
    names = ("id", "drive_mode", "homing_offset", "range_min", "range_max")
    if not isinstance(entry, dict) or not all(type(entry.get(name)) is int for name in names):
        raise UserError(
            f"calibration {path}: {joint} needs whole numbers for {', '.join(names)}; {_MAKE}"
        )
    if entry["id"] != id_:
        raise UserError(
            f"calibration {path}: {joint} has id {entry['id']}, on an SO-101 it has {id_}; "
            "the motors were set up in another order, set their ids with `lerobot-setup-motors`"
        )
    if abs(entry["homing_offset"]) > _MOST_OFFSET or entry["drive_mode"] not in (0, 1):
        raise UserError(
            f"calibration {path}: {joint} has homing_offset {entry['homing_offset']} and "
            f"drive_mode {entry['drive_mode']}; they must be within -{_MOST_OFFSET} to "
            f"{_MOST_OFFSET}, and 0 or 1; {_MAKE}"
        )
    if not 0 <= entry["range_min"] < entry["range_max"] <= GREATEST:
        raise UserError(
            f"calibration {path}: {joint} ranges from {entry['range_min']} to "
            f"{entry['range_max']}; it must be within 0 to {GREATEST}, the lower one first; {_MAKE}"
        )
    return entry
