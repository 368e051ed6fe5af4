"""LeRobot's calibration files, without LeRobot."""

import json
from pathlib import Path

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.emulator.servo_calibration import calibrate, write_calibration
from so101_robobase.robot.real.lerobot_calibration import FACTORY, Calibration, StoredCalibration

RANGE = np.array([[-1.9, 1.9], [-1.7, 1.7], [-1.6, 1.6], [-1.6, 1.6], [-2.7, 2.8], [-0.2, 1.7]])


def saved(folder: Path, arm: int = 0, **changes: dict[str, int]) -> Path:
    entries = calibrate(RANGE, arm).as_lerobot()
    for motor, change in changes.items():
        entries[motor] |= change
    path = folder / f"arm{arm}.json"
    write_calibration(entries, path)
    return path


def kept(calibration: Calibration) -> dict[str, StoredCalibration]:
    return dict(zip(JOINTS, calibration.kept, strict=True))


def test_counts_and_servo_units_are_each_others_inverse(tmp_path):
    calibration = Calibration(saved(tmp_path))
    rng = np.random.default_rng(0)
    counts = rng.integers(calibration.lower, calibration.upper + 1, (100, 6))
    np.testing.assert_array_equal(calibration.to_counts(calibration.to_servo(counts)), counts)


def test_units_are_degrees_from_the_middle_and_percent(tmp_path):
    calibration = Calibration(saved(tmp_path))
    low, high = calibration.to_servo(calibration.lower), calibration.to_servo(calibration.upper)
    np.testing.assert_allclose(low[:5], -high[:5])
    np.testing.assert_allclose(
        (high - low)[:5], (calibration.upper - calibration.lower)[:5] * 360 / 4095
    )
    assert (low[5], high[5]) == (0, 100)


def test_drive_mode_turns_the_gripper_alone(tmp_path):
    plain = Calibration(saved(tmp_path))
    turned = Calibration(saved(tmp_path, gripper={"drive_mode": 1}, elbow_flex={"drive_mode": 1}))
    counts = plain.lower + 100
    np.testing.assert_allclose(turned.to_servo(counts)[:5], plain.to_servo(counts)[:5])
    assert turned.to_servo(counts)[5] == pytest.approx(100 - plain.to_servo(counts)[5])


def test_the_same_arm_has_no_difference(tmp_path):
    calibration = Calibration(saved(tmp_path))
    assert calibration.difference(kept(calibration)) is None


def test_servos_of_the_factory_are_told_from_those_of_another_arm(tmp_path):
    calibration = Calibration(saved(tmp_path))
    assert "the factory's" in calibration.difference(dict.fromkeys(JOINTS, FACTORY))
    other = kept(Calibration(saved(tmp_path, arm=1)))
    assert "another arm" in calibration.difference(other)


def test_swapped_servos_are_named_with_what_both_sides_say(tmp_path):
    calibration = Calibration(saved(tmp_path))
    found = kept(calibration)
    found["shoulder_pan"], found["wrist_flex"] = found["wrist_flex"], found["shoulder_pan"]
    said = calibration.difference(found)
    assert "shoulder_pan and wrist_flex are swapped" in said
    assert str(calibration.kept[0]) in said
    assert str(calibration.kept[3]) in said


def test_one_exchanged_servo_is_not_another_arm(tmp_path):
    calibration = Calibration(saved(tmp_path))
    found = kept(calibration) | {"gripper": StoredCalibration(3, 10, 900)}
    said = calibration.difference(found)
    assert said.startswith("gripper has offset")
    assert "offset 3, range 10 to 900" in said
    assert "another arm" not in said


def test_a_joint_outside_its_range_is_named(tmp_path):
    calibration = Calibration(saved(tmp_path))
    inside = dict(zip(JOINTS, (calibration.upper + 30).tolist(), strict=True))
    assert calibration.out_of_range(inside) is None
    assert "elbow_flex stands at 4000" in calibration.out_of_range(inside | {"elbow_flex": 4000})


OLD = {
    "homing_offset": [-2018, 3063, -967, -2067, 2035, -2171],
    "drive_mode": [0, 1, 0, 0, 1, 0],
    "start_pos": [2029, 2988, 1054, 2133, 2008, 2049],
    "end_pos": [3042, -2039, 1991, 3091, -1011, 3195],
    "calib_mode": ["DEGREE"] * 5 + ["LINEAR"],
    "motor_names": list(JOINTS),
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "not that of an SO-101: it holds no motors"),
        (json.dumps({"shoulder_pan": {}}), "it holds shoulder_pan; it must hold"),
        (json.dumps({joint: {"id": 1} for joint in JOINTS}), "needs whole numbers for id"),
        (json.dumps(OLD), "format from before mid-2025.*calibrate the arm once more"),
    ],
)
def test_files_that_are_no_calibration(tmp_path, content, message):
    path = tmp_path / "arm.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        Calibration(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": 3}, "shoulder_lift has id 3, on an SO-101 it has 2"),
        ({"range_min": 3000, "range_max": 3000}, "shoulder_lift ranges from 3000 to 3000"),
        ({"range_max": 5000}, "within 0 to 4095"),
        ({"range_min": 1.5}, "whole numbers"),
        ({"homing_offset": 2048}, "homing_offset 2048"),
        ({"homing_offset": -(10**18)}, "within -2047 to 2047"),
        ({"drive_mode": 2}, "drive_mode 2"),
    ],
)
def test_entries_that_cannot_be(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        Calibration(saved(tmp_path, shoulder_lift=change))


def test_a_missing_file_lists_its_neighbours(tmp_path):
    neighbour = saved(tmp_path)
    with pytest.raises(UserError, match=f"there are: {neighbour}"):
        Calibration(tmp_path / "mine.json")
