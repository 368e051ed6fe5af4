"""`so101_robobase robot check` on emulated servos."""

import argparse
import re
import time
from pathlib import Path

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.alignment import Alignment, Units
from so101_robobase.arm.joints import JOINTS
from so101_robobase.arm.kinematics import Kinematics
from so101_robobase.robot.align.directions import MOTIONS, check_joint
from so101_robobase.robot.emulator.faults import Fault
from so101_robobase.robot.real.check_command import configure, run


@pytest.fixture(scope="module")
def units(scene) -> Units:
    return Units(Alignment(), scene.model.actuator_ctrlrange)


def check(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    configure(parser)
    return run(parser.parse_args([*map(str, arguments), "--no_directions"]))


@pytest.fixture
def calibration(bus, tmp_path) -> Path:
    pytest.importorskip("lerobot")
    return bus.write_calibration(tmp_path, "arm")


def lines(capsys) -> dict[str, str]:
    """Name of a part -> its line."""
    said = capsys.readouterr().out.splitlines()
    return {line[5:].split(":")[0]: line for line in said}


def sink_down(bus) -> None:
    """Wait until an arm without torque has come to rest."""
    ends = time.monotonic() + 20
    before = bus.state().qpos[:6].copy()
    while time.monotonic() < ends:
        time.sleep(0.5)
        now = bus.state().qpos[:6].copy()
        if np.abs(now - before).max() < 0.005:
            return
        before = now


def test_a_good_arm_is_well_in_every_line_and_keeps_still(bus, calibration, capsys, units):
    sink_down(bus)
    truth = units.to_servo(bus.state().qpos[:6])
    events = len(bus.events())
    code = check("--port", bus.port, "--calibration", calibration)
    said = lines(capsys)
    assert list(said) == [
        "port",
        *(f"servo {id_} {joint}" for id_, joint in enumerate(JOINTS, 1)),
        "firmware",
        "calibration",
        "loop rate",
    ]
    del said["loop rate"]  # on a busy machine it may be too slow
    assert all(line.startswith("OK   ") for line in said.values()), said
    for id_, (joint, place) in enumerate(zip(JOINTS, truth, strict=True), 1):
        line = said[f"servo {id_} {joint}"]
        assert re.search(r"model 777, firmware 3.10, 7.4 V, 2\d °C, load ", line)
        assert float(line.split(" at ")[1].split(" ")[0]) == pytest.approx(place, abs=6)
    assert code in (0, 1)
    assert len(bus.events()) == events  # neither goals nor torque


@pytest.mark.parametrize(
    ("fault", "part", "message"),
    [
        (
            Fault("dead", servos=[3]),
            "servo 3 elbow_flex",
            "does not answer; .*start the emulator again",
        ),
        (Fault("model", servos=[2]), "servo 2 shoulder_lift", "model 1284.*must be 777"),
        (Fault("firmware", servos=[4]), "firmware", "wrist_flex 3.9.*Feetech's software"),
        (
            Fault("overload", servos=[6]),
            "servo 6 gripper",
            "complains of overload: see which of its faults",
        ),
        (
            Fault("overheat", servos=[5], value=65),
            "servo 5 wrist_roll",
            "65 °C.*hot, its limit is 70",
        ),
        (
            Fault("low_voltage", value=3.5),
            "servo 1 shoulder_pan",
            "3.5 V.*must be 4.0 to 8.0 V: see",
        ),
        (Fault("unplug"), "port", "does not exist"),
        (Fault("brown_out"), "servos", "nothing answers on .*start the emulator again"),
        (Fault("drop", probability=0.02), "loop rate", "give this machine less to do"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
def test_what_is_wrong_is_in_its_line(bus, calibration, capsys, fault, part, message):
    import re

    bus.inject(fault)
    assert check("--port", bus.port, "--calibration", calibration) == 1
    line = lines(capsys)[part]
    assert line.startswith("FAIL ")
    assert re.search(message, line), line
    assert not re.search("cable|plug|power|adapter", line), line


def test_without_a_calibration_the_servos_are_looked_at_all_the_same(bus, calibration, capsys):
    assert check("--port", bus.port) == 1
    said = lines(capsys)
    assert "give --calibration <file> or --id" in said["calibration"]
    assert said["servo 1 shoulder_pan"].startswith("OK")
    assert said["servo 1 shoulder_pan"].endswith(" counts")
    assert check("--port", bus.port, "--calibration", calibration.with_name("no.json")) == 1
    assert "no.json cannot be read" in lines(capsys)["calibration"]


def test_the_calibration_of_another_arm_is_found_out(bus, calibration, capsys):
    text = calibration.read_text()
    for servo in bus.calibration.values():
        text = text.replace(f'"homing_offset": {servo["homing_offset"]}', '"homing_offset": 3')
    calibration.write_text(text)
    assert check("--port", bus.port, "--calibration", calibration) == 1
    assert "another arm" in lines(capsys)["calibration"]


def test_a_busy_port_is_said(bus, calibration, capsys):
    from so101_robobase.robot.real.ports import PortLock

    claim = PortLock(bus.port)
    assert check("--port", bus.port, "--calibration", calibration) == 1
    assert "is in use by" in lines(capsys)["port"]
    claim.release()


def test_arguments_that_cannot_be_used():
    pytest.importorskip("serial")
    with pytest.raises(UserError, match="--port, --camera or both"):
        check()
    with pytest.raises(UserError, match="must be width x height"):
        check("--camera", "0", "--camera_size", "big")
    with pytest.raises(UserError, match="does not exist"):
        check("--port", "/dev/ttyNONE", "--alignment", "/nonexistent.yaml")
    with pytest.raises(SystemExit) as raised:
        check("--port", "/dev/ttyNONE", "--calibration", "a", "--id", "b")
    assert raised.value.code == 2


# directions


class Hand:
    """A person who adds `motion` (6,), servo units, to where the arm is."""

    def __init__(self, motion, leaves_out: bool = False):
        self.motion, self.leaves_out = np.array(motion, np.float64), leaves_out
        self.position = np.full(6, 40.0)
        self.asked, self.shown = "", ""

    def read(self) -> np.ndarray:
        return self.position.copy()

    def do(self, request, show) -> bool:
        self.asked = request
        if not self.leaves_out:
            self.position += self.motion
        self.shown = show()
        return not self.leaves_out


def test_a_joint_that_turns_as_the_model_does_is_well(units):
    hand = Hand([0, 20, 0, 1, 0, 0])
    item = check_joint(1, hand.read, units, hand)
    assert item.ok
    assert MOTIONS["shoulder_lift"] in hand.asked
    assert hand.shown == "servo  +20.0, model  +20.0 degrees"


def test_a_joint_that_turns_the_other_way_is_told_so(units):
    hand = Hand([0, -20, 0, 1, 0, 0])
    item = check_joint(1, hand.read, units, hand)
    assert not item.ok
    assert "the other way" in item.text


def test_the_alignments_direction_counts(scene):
    turned = Alignment(direction=(1, -1, 1, 1, 1))
    hand = Hand([0, -20, 0, 0, 0, 0])
    assert check_joint(1, hand.read, Units(turned, scene.model.actuator_ctrlrange), hand).ok


def test_swapped_joints_are_found_out(units):
    hand = Hand([0, 0.5, 20, 0, 0, 0])
    item = check_joint(1, hand.read, units, hand)
    assert not item.ok
    assert "elbow_flex moved instead" in item.text


def test_no_motion_says_nothing(units):
    hand = Hand([0, 2, 0, 0, 0, 0])
    item = check_joint(1, hand.read, units, hand)
    assert not item.ok
    assert "nothing moved" in item.text
    hand = Hand(np.zeros(6), leaves_out=True)
    assert check_joint(1, hand.read, units, hand) is None


def test_the_motions_that_are_asked_for_are_the_models(scene):
    """In a pose with the upper arm up and the forearm forward: x forward, y left, z up, in m."""
    arm = Kinematics.from_model(scene.model)

    def moved(joint: str) -> tuple[np.ndarray, np.ndarray]:
        pose = np.zeros((1, 6))
        before, turned_before = arm.forward(pose)
        pose[0, JOINTS.index(joint)] = 0.2
        after, turned = arm.forward(pose)
        return (after - before)[0], (turned @ turned_before.transpose(0, 2, 1))[0]

    assert MOTIONS["shoulder_pan"].startswith("turn the arm clockwise, seen from above")
    assert moved("shoulder_pan")[0][1] < -0.05  # from ahead to the right
    assert MOTIONS["shoulder_lift"].startswith("lean the upper arm forward")
    assert moved("shoulder_lift")[0][0] > 0.01
    for joint in ("elbow_flex", "wrist_flex"):
        assert MOTIONS[joint].endswith("down")
        assert moved(joint)[0][2] < -0.02
    assert "anticlockwise, seen from the base" in MOTIONS["wrist_roll"]
    left_side = moved("wrist_roll")[1] @ np.array([0, 1, 0])
    assert left_side[2] < -0.1  # goes down: anticlockwise for one who looks forward
    assert MOTIONS["gripper"] == "open the jaw"  # its upper end is open, as `Units` has it


def test_a_person_moves_every_joint_with_torque_off(bus, calibration, units):
    """The hand that moves the emulated arm is a servo's."""
    from so101_robobase.robot.real import check as checks
    from so101_robobase.robot.real.lerobot_bus import uncalibrated
    from so101_robobase.robot.real.lerobot_calibration import Calibration
    from so101_robobase.robot.real.servo_registers import TORQUE_ENABLE

    arm = uncalibrated(bus.port)
    arm.open()
    file = Calibration(calibration)
    requests: list[str] = []
    towards: dict[str, int] = {}

    class Mover:
        def do(self, request, show) -> bool:
            requests.append(request)
            name = request.split(":")[0]
            if name not in JOINTS:
                time.sleep(0.5)  # the arm sinks down
                return True
            joint = JOINTS.index(name)
            present = int(checks.read_counts(arm)[joint])
            towards[name] = 1 if present < 2047 else -1
            arm.write(joint + 1, TORQUE_ENABLE, b"\1")
            arm.sync_write("Goal_Position", {name: present + 250 * towards[name]})
            time.sleep(0.5)
            assert f"{'+' if towards[name] > 0 else '-'}" in show()
            arm.write(joint + 1, TORQUE_ENABLE, b"\0")
            return True

    for id_ in range(1, 7):
        arm.write(id_, TORQUE_ENABLE, b"\1")
    items = list(checks.check_directions(arm, file, units, Mover()))
    arm.close()
    assert "torque goes off" in requests[0]
    assert [item.name for item in items] == [f"direction of {joint}" for joint in JOINTS]
    assert {item.name.split()[-1]: item.ok for item in items} == {
        joint: towards[joint] > 0 for joint in JOINTS
    }
    assert bus.state().limp.all()
