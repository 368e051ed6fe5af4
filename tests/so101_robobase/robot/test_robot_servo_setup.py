"""What servos may keep: every register of the table with values that are not allowed."""

import argparse

import pytest

from robobase.errors import UserError
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.emulator.faults import Fault
from so101_robobase.robot.real.servo_registers import REGISTERS, Rule

pytest.importorskip("lerobot")

from so101_robobase.robot.real import check_command
from so101_robobase.robot.real.lerobot_driver import LeRobotDriver

REFUSED = [register for register in REGISTERS if register.sets is None]
SET = [(register, motor) for register in REGISTERS for motor in ("elbow_flex", "gripper")]
SET = [(one, motor) for one, motor in SET if one.set_by_lerobot(motor) is not None]

SHOWN = {  # of the issue: connected and stayed
    "Unloading_Condition": 0,
    "Max_Temperature_Limit": 255,
    "Angular_Resolution": 3,
    "Max_Torque_Limit": 0,
}


@pytest.fixture
def driver(bus, tmp_path):
    driver = LeRobotDriver(bus.port, bus.write_calibration(tmp_path, "arm"))
    yield driver
    bus.clear()
    assert driver.release() == []
    driver.close()


def corrupt(bus, register: Rule, motor: str, value: int) -> None:
    servo = JOINTS.index(motor) + 1
    bus.inject(Fault("register", [servo], value=value, register=register.name))


def bad_values(register: Rule) -> list[int]:
    """Just outside what is allowed, both ways, the most that fits, and each bit that counts."""
    top = 256**register.size - 1
    masks = [bit for bit in range(8) if (register.on | register.off) >> bit & 1]
    tried = {0, register.least - 1, register.most + 1, top}
    tried |= {register.factory ^ (1 << bit) for bit in masks}
    return sorted(value for value in tried if 0 <= value <= top and not register.allows(value))


def test_the_factorys_values_are_allowed_and_something_else_is_not():
    for register in REGISTERS:
        assert register.set_by_lerobot("elbow_flex") is not None or register.allows(
            register.factory
        ), register.name
    for register in REFUSED:
        assert bad_values(register), register.name
    for name, value in SHOWN.items():
        register = next(one for one in REGISTERS if one.name == name)
        assert not register.allows(value)


@pytest.mark.parametrize("register", REFUSED, ids=lambda register: register.name)
def test_an_arm_that_keeps_what_it_must_not_is_refused_with_register_and_repair(
    bus, driver, register
):
    for value in bad_values(register):
        before = len(bus.events())
        corrupt(bus, register, "elbow_flex", value)
        with pytest.raises(UserError) as refused:
            driver.connect()
        said = str(refused.value)
        for part in ("elbow_flex (id 3)", register.name, str(value), register.allowed, "--repair"):
            assert part in said
        assert len(bus.events()) == before  # neither goals nor torque
        bus.clear()


@pytest.mark.parametrize(("register", "motor"), SET, ids=lambda one: getattr(one, "name", one))
def test_what_lerobot_sets_itself_is_set_and_told(bus, driver, register, motor):
    value = 3 if register.factory != 3 else 4
    corrupt(bus, register, motor, value)
    driver.connect()
    id_ = JOINTS.index(motor) + 1
    assert register.read(driver.bus.settings(id_).memory) == register.set_by_lerobot(motor)
    said = "; ".join(driver.retried())
    if register.kept:
        assert f"{motor} kept {register.name}={value}" in said


def test_a_value_that_does_not_stay_is_refused(bus, driver, monkeypatch):
    monkeypatch.setattr(driver.robot.bus, "configure_motors", lambda: None)
    bus.inject(Fault("register", [2], value=99, register="Return_Delay_Time"))
    with pytest.raises(UserError, match=r"shoulder_lift \(id 2\) keeps Return_Delay_Time=99"):
        driver.connect()
    assert bus.state().limp.all()


def test_check_names_what_is_wrong_and_repairs_it(bus, driver, capsys, tmp_path):
    calibration = bus.write_calibration(tmp_path, "arm")

    def check(*more: str) -> str:
        parser = argparse.ArgumentParser()
        check_command.configure(parser)
        arguments = ["--port", bus.port, "--calibration", str(calibration), "--no_directions"]
        check_command.run(parser.parse_args([*arguments, *more]))
        return capsys.readouterr().out

    bus.inject(
        Fault("register", [4], value=0, register="Unloading_Condition"),
        Fault("register", [4], value=200, register="Max_Temperature_Limit"),
    )
    said = check()
    assert "FAIL servo 4 wrist_flex" in said
    assert "Unloading_Condition (address 19) is 0" in said
    assert "Max_Temperature_Limit (address 13) is 200" in said
    said = check("--repair")
    assert "Unloading_Condition was 0, is 44 now" in said
    assert "OK   servo 4 wrist_flex" in said
    driver.connect()
