"""One emulated servo: its memory, its encoder, its torque and its alarms."""

import numpy as np
import pytest

from so101_robobase.robot.emulator.protocol import Alarm
from so101_robobase.robot.emulator.registers import REGISTERS, Memory
from so101_robobase.robot.emulator.servo import NORMAL, Conditions, Servo
from so101_robobase.robot.emulator.servo_calibration import (
    COUNT,
    MIDDLE,
    ServoCalibration,
    calibrate,
)

CALIBRATION = ServoCalibration(3, 0, -700, 1000, 3095)
TORQUE, GOAL, LOCK, OFFSET, PRESENT = 40, 42, 55, 31, 56


@pytest.fixture
def goals():
    return []


@pytest.fixture
def servo(goals):
    servo = Servo(2, CALIBRATION, 0.0, lambda *goal: goals.append(goal))
    servo.update(0.5, 0.0, 0.0, 0.0)
    return servo


def word(value):
    return value.to_bytes(2, "little")


def position(servo):
    return int.from_bytes(servo.read(PRESENT, 2), "little")


def test_registers_are_lerobot_s():
    tables = pytest.importorskip("lerobot.motors.feetech.tables")
    theirs = tables.STS_SMS_SERIES_CONTROL_TABLE
    signs = tables.STS_SMS_SERIES_ENCODINGS_TABLE
    assert set(REGISTERS) <= set(theirs)
    for name, register in REGISTERS.items():
        assert (register.address, register.size) == theirs[name], name
        assert register.sign_bit == signs.get(name) or name == "Present_Current", name


def test_eeprom_is_kept_only_when_unlocked():
    memory = Memory()
    memory.write(21, b"\x10")  # P while Lock is 1
    assert memory["P_Coefficient"] == 16
    memory.write(LOCK, b"\0")
    memory.write(22, b"\x05")  # D while it is 0
    memory.write(TORQUE, b"\1")
    memory.power_cycle()
    assert (memory["P_Coefficient"], memory["D_Coefficient"]) == (32, 5)
    assert (memory["Torque_Enable"], memory["Lock"]) == (0, 1)


def test_read_only_registers_and_unknown_addresses():
    memory = Memory()
    assert memory.write(3, b"\0\0") == set()
    assert memory["Model_Number"] == 777
    memory.write(200, b"\x2a")
    assert memory.read(200, 1) == b"\x2a"
    assert memory.read(250, 10) == bytes(10)


def test_one_write_may_touch_several_registers():
    memory = Memory()
    touched = memory.write(41, bytes([50]) + word(2000) + word(0) + word(900))
    assert touched == {"Acceleration", "Goal_Position", "Goal_Time", "Goal_Velocity"}
    assert (memory["Goal_Position"], memory["Goal_Velocity"]) == (2000, 900)


def test_position_is_actual_minus_offset(servo):
    expected = MIDDLE + 0.5 / COUNT
    assert abs(position(servo) - expected) <= 0.5
    servo.write(OFFSET, word(100))
    assert abs(position(servo) - (expected - 700 - 100) % 4096) <= 0.5
    servo.write(OFFSET, word(2048 + 700))  # back, in sign and magnitude
    assert abs(position(servo) - expected) <= 0.5


def test_positions_wrap_around(servo):
    servo.update(np.deg2rad(181), 0.0, 0.0, 0.0)
    assert position(servo) == round(MIDDLE + 181 / 360 * 4096) - 4096


def test_goals_are_logged_as_sent_and_driven_to_within_limits(servo, goals):
    servo.write(TORQUE, b"\1")
    servo.write(GOAL, word(2000))
    assert servo.target == pytest.approx((2000 - MIDDLE) * COUNT)
    servo.write(GOAL, word(4000))
    assert servo.target == pytest.approx((3095 - MIDDLE) * COUNT)
    servo.write(GOAL, word(32768 + 10))
    assert servo.target == pytest.approx((1000 - MIDDLE) * COUNT)
    assert [(joint, counts) for joint, counts, _ in goals] == [(2, 2000), (2, 4000), (2, -10)]
    assert [angle for _, _, angle in goals] == pytest.approx(
        [(counts - MIDDLE) * COUNT for counts in (2000, 4000, -10)]
    )


def test_torque_on_holds_the_present_position(servo, goals):
    servo.write(GOAL, word(1500))
    assert servo.limp
    servo.write(TORQUE, b"\1")
    assert not servo.limp
    assert servo.target == pytest.approx(0.5, abs=COUNT)
    assert len(goals) == 1  # holding is no command
    servo.write(GOAL, word(1500))
    servo.write(TORQUE, b"\1")  # once more: nothing changes
    assert servo.target == pytest.approx((1500 - MIDDLE) * COUNT)


def test_torque_128_makes_the_present_position_2048(servo):
    servo.write(TORQUE, bytes([128]))
    assert position(servo) == 2048
    assert servo.limp
    servo.set_conditions(Conditions(powered=False))
    servo.set_conditions(NORMAL)
    assert position(servo) == 2048


@pytest.mark.parametrize(
    ("conditions", "complaint", "gives_way"),
    [
        (Conditions(voltage=3.5), Alarm.VOLTAGE, False),
        (Conditions(voltage=9.0), Alarm.VOLTAGE, False),
        (Conditions(temperature=85), Alarm.OVERHEAT, True),
        (Conditions(alarms=Alarm.ANGLE), Alarm.ANGLE, False),
        (Conditions(alarms=Alarm.OVERCURRENT), Alarm.OVERCURRENT, True),
        (Conditions(alarms=Alarm.OVERLOAD), Alarm.OVERLOAD, True),
    ],
)
def test_complaints(servo, conditions, complaint, gives_way):
    servo.write(TORQUE, b"\1")
    servo.set_conditions(conditions)
    assert servo.alarms == complaint
    assert servo.limp == gives_way
    assert servo.read(65, 1) == bytes([complaint])
    servo.write(GOAL, word(2000))  # still executed
    assert servo.memory["Goal_Position"] == 2000
    servo.write(19, b"\0")  # Unloading_Condition
    assert not servo.limp
    servo.set_conditions(NORMAL)
    assert not servo.alarms


def test_without_power_ram_is_lost(servo):
    servo.write(TORQUE, b"\1")
    servo.write(GOAL, word(2000))
    servo.set_conditions(Conditions(powered=False))
    assert servo.limp
    servo.set_conditions(NORMAL)
    assert servo.limp
    assert servo.memory["Goal_Position"] == 0
    assert servo.memory["Homing_Offset"] == -700


def test_load_speed_and_temperature(servo):
    servo.write(TORQUE, b"\1")
    servo.update(0.5, -1.0, -0.25, 0.002)
    assert int.from_bytes(servo.read(60, 2), "little") == 1024 + 250
    assert int.from_bytes(servo.read(58, 2), "little") == 32768 + int(1 / COUNT)
    assert servo.read(66, 1) == b"\1"
    cold = servo.temperature
    for _ in range(1000):
        servo.update(0.5, 0.0, 1.0, 1.0)
    assert cold < 30 < 60 < servo.temperature < 70
    assert servo.read(63, 1) == bytes([round(servo.temperature)])
    assert servo.read(66, 1) == b"\0"
    servo.write(TORQUE, b"\0")
    servo.update(0.5, 0.0, 1.0, 1.0)
    assert servo.read(60, 2) == bytes(2)


def test_calibrations_fit_the_joints_and_differ_between_arms():
    joint_range = np.array([[-2, 2], [-1, 1.5], [-1, 1], [-1, 1], [-2.7, 2.8], [-0.2, 1.7]])
    arm, other = calibrate(joint_range, 0), calibrate(joint_range, 1)
    for servo, middle, (lower, upper) in zip(arm.servos, arm.middle, joint_range, strict=True):
        assert servo.range_min + servo.range_max == 4095
        reach = (servo.range_max - MIDDLE) * COUNT
        if servo.id != 5:
            assert max(upper - middle, middle - lower) - reach == pytest.approx(0, abs=COUNT)
            assert reach <= max(upper - middle, middle - lower)
    assert (arm.servos[4].range_min, arm.servos[4].range_max) == (0, 4095)
    assert arm.middle == (0, 0, 0, 0, 0, pytest.approx(0.75))
    assert [one.homing_offset for one in arm.servos] != [one.homing_offset for one in other.servos]
    assert calibrate(joint_range, 0) == arm
