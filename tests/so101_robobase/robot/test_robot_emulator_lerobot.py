"""LeRobot's own SO-101 driver, unmodified, on the emulated bus."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from so101_robobase.arm.alignment import Alignment, Units
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
from so101_robobase.robot.emulator.faults import Fault
from so101_robobase.robot.emulator.servo_calibration import COUNT, calibrate, write_calibration
from so101_robobase.sim.scene import build_scene
from so101_robobase.tasks.lift.config import LiftConfig

pytest.importorskip("lerobot")
from lerobot.motors.feetech import FeetechMotorsBus

try:
    from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig
except ImportError:  # up to 0.4.2
    from lerobot.robots.so101_follower import SO101Follower, SO101FollowerConfig

SOON = 20.0  # s, the machine may be busy
SAG = np.deg2rad(2.0)  # servos give way to gravity by about a degree
POSE = np.deg2rad([10, -20, 30, 40, -50, 20])


@pytest.fixture(scope="module")
def emulator():
    with EmulatedBus(EmulatorConfig(LiftConfig(), seed=3)) as bus:
        yield bus


@pytest.fixture(scope="module")
def units():
    return Units(Alignment(), build_scene().model.actuator_ctrlrange)


@pytest.fixture
def robot(emulator, tmp_path):
    emulator.write_calibration(tmp_path, "arm")
    robot = SO101Follower(
        SO101FollowerConfig(
            port=emulator.port, id="arm", calibration_dir=tmp_path, use_degrees=True
        )
    )
    emulator.begin(0)
    yield robot
    emulator.clear()
    until(lambda: emulator.state().plugged)
    if robot.bus.port_handler.is_open:
        robot.bus.port_handler.closePort()
    # Whatever the test has left: torque off, through a fresh port.
    robot.bus.port_handler.is_using = False
    robot.bus.connect(handshake=False)
    robot.bus.port_handler.ser.reset_input_buffer()
    robot.bus.disconnect()


@pytest.fixture
def connected(robot):
    robot.connect(calibrate=False)
    return robot


def until(condition):
    give_up = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < give_up, "it did not come to pass"
        time.sleep(0.005)


def vector(named):
    return np.array([named[f"{joint}.pos"] for joint in JOINTS])


def named(servo):
    return {f"{joint}.pos": float(value) for joint, value in zip(JOINTS, servo, strict=True)}


def clear_input(robot):
    robot.bus.port_handler.ser.reset_input_buffer()


def test_connect_configures_and_holds(robot, emulator):
    robot.connect(calibrate=False)
    assert robot.is_connected
    assert robot.is_calibrated
    assert not emulator.state().limp.any()
    assert robot.bus.read("P_Coefficient", "elbow_flex") == 16
    assert robot.bus.read("Max_Torque_Limit", "gripper") == 500
    assert robot.bus.read("Lock", "gripper") == 1
    assert len(emulator.faults()) == emulator.state().rejected == 0


def test_observations_are_the_model_s_angles(connected, emulator, units):
    until(lambda: np.abs(emulator.state().qvel).max() < 0.01)
    seen = units.to_model(vector(connected.get_observation()))
    # Half a count of the encoder, and LeRobot's 4095 counts a turn where there are 4096.
    tolerance = COUNT + np.abs(seen) / 4096
    assert (np.abs(seen - emulator.state().qpos[:6]) < tolerance).all()


def test_actions_reach_the_model_s_angles(connected, emulator, units):
    before = len(emulator.commands())
    connected.send_action(named(units.to_servo(POSE)))
    until(lambda: len(emulator.commands()) == before + 6)
    commands = emulator.commands()[before:]
    # LeRobot cuts goals down to whole counts.
    tolerance = COUNT + np.abs(POSE) / 4096
    assert (np.abs(commands["angle"] - POSE) < tolerance).all()
    until(lambda: np.abs(emulator.state().qpos[:6] - POSE).max() < SAG)
    until(lambda: np.abs(units.to_model(vector(connected.get_observation())) - POSE).max() < SAG)


def test_degrees_go_out_unclamped_and_the_servo_stops_at_its_limit(connected, emulator):
    connected.send_action({"shoulder_pan.pos": 160.0})
    until(lambda: len(emulator.commands()) and emulator.commands()[-1]["angle"] > np.deg2rad(159))
    limit = np.deg2rad(110)
    until(lambda: abs(emulator.state().target[0] - limit) < 2 * COUNT)


def test_disconnect_releases_and_reconnect_works(connected, emulator):
    for _ in range(2):
        connected.disconnect()
        assert emulator.state().limp.all()
        connected.connect(calibrate=False)
        assert not emulator.state().limp.any()
        connected.get_observation()


def test_the_calibration_of_another_arm_does_not_fit(emulator, tmp_path):
    another = calibrate(build_scene().model.actuator_ctrlrange, arm=1).as_lerobot()
    write_calibration(another, tmp_path / "arm.json")
    config = SO101FollowerConfig(
        port=emulator.port, id="arm", calibration_dir=tmp_path, use_degrees=True
    )
    robot = SO101Follower(config)
    robot.connect(calibrate=False)
    assert not robot.is_calibrated
    robot.disconnect()


def test_lerobot_s_calibration_procedure(robot, emulator):
    bus = robot.bus
    bus.connect()
    ours = bus.read_calibration()
    bus.disable_torque()
    try:
        until(lambda: np.abs(emulator.state().qvel).max() < 1e-3)  # the arm has sunk to rest
        offsets = bus.set_half_turn_homings()
        centred = bus.sync_read("Present_Position", normalize=False)
        assert set(centred.values()) <= {2046, 2047, 2048}
        assert any(offsets[joint] != ours[joint].homing_offset for joint in JOINTS)
    finally:
        bus.write_calibration(ours)
    assert bus.is_calibrated
    assert bus.read_calibration() == ours


def test_a_servo_finds_its_new_id(robot, emulator):
    """What `lerobot-setup-motors` does to one servo."""
    bus = robot.bus
    bus.connect()
    bus.disable_torque("gripper")
    bus._write(5, 1, 6, 16)
    assert bus.ping(16) is None or bus.packet_handler.ping(bus.port_handler, 16)[1] == 0
    assert bus.packet_handler.ping(bus.port_handler, 6)[1] != 0
    bus._write(5, 1, 16, 6)
    assert bus.ping("gripper") == 777


def test_broadcast_ping_finds_all(robot):
    robot.bus.connect()
    assert robot.bus.broadcast_ping() == dict.fromkeys(range(1, 7), 777)


@pytest.mark.slow
def test_scan_port_finds_the_baud_rate(emulator):
    assert FeetechMotorsBus.scan_port(emulator.port) == {1_000_000: [1, 2, 3, 4, 5, 6]}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("dead", servos=(4,)), "Missing motor IDs:\n  - 4"),
        (Fault("model", servos=(2,)), "expected 777, found 1284"),
        (Fault("firmware", servos=(6,)), "different firmware versions"),
        (Fault("overload", servos=(1,)), "Missing motor IDs:\n  - 1"),  # as LeRobot puts it
    ],
)
def test_connect_refuses(robot, emulator, fault, message):
    emulator.inject(fault)
    with pytest.raises(RuntimeError, match=message):
        robot.connect(calibrate=False)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("drop", servos=(3,), count=1),
        Fault("delay", value=0.3, count=6),
        Fault("corrupt", servos=(3,), count=1),
        Fault("truncate", servos=(3,), count=1, value=3),
        Fault("lose", count=1),
        Fault("dead", servos=(3,)),
        Fault("brown_out"),
    ],
)
def test_reads_fail(connected, emulator, fault):
    connected.get_observation()
    emulator.inject(fault)
    with pytest.raises(ConnectionError):
        connected.get_observation()
    time.sleep(0.5)
    clear_input(connected)
    emulator.clear()
    connected.get_observation()


def test_a_late_answer_makes_every_later_one_stale(connected, emulator):
    """The hazard that a driver has to handle: one late answer, and LeRobot is behind for ever."""
    emulator.inject(Fault("delay", value=0.3, count=6))
    with pytest.raises(ConnectionError):
        connected.get_observation()
    time.sleep(0.5)
    stale = vector(connected.get_observation())
    connected.send_action({"shoulder_pan.pos": stale[0] + 20})
    until(lambda: emulator.state().qpos[0] > np.deg2rad(stale[0] + 15))
    behind = vector(connected.get_observation())
    assert behind[0] < stale[0] + 5
    time.sleep(0.5)  # the answers to what was asked last are on their way
    clear_input(connected)
    assert vector(connected.get_observation())[0] > stale[0] + 10


def test_duplicates_leave_bytes_behind(connected, emulator):
    emulator.inject(Fault("duplicate", servos=(6,), count=1))
    connected.get_observation()
    until(lambda: connected.bus.port_handler.ser.in_waiting == 8)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("overload", "Overload"),
        ("overcurrent", "OverEle"),
        ("overheat", "Overheat"),
        ("low_voltage", "voltage"),
        ("angle", "Angle"),
    ],
)
def test_complaints_raise_but_writes_are_done(connected, emulator, kind, message):
    emulator.inject(Fault(kind, servos=(2,)))
    connected.get_observation()  # sync_read overlooks complaints
    with pytest.raises(RuntimeError, match=message):
        connected.bus.write("Acceleration", "shoulder_lift", 77)
    emulator.clear()
    assert connected.bus.read("Acceleration", "shoulder_lift") == 77


def test_a_complaint_at_disconnect_leaves_torque_on(connected, emulator):
    emulator.inject(Fault("low_voltage", servos=(1,)))
    with pytest.raises(RuntimeError, match="voltage"):
        connected.disconnect()
    assert emulator.state().limp.tolist() == [True] + [False] * 5
    assert connected.bus.port_handler.is_open


def test_temperature_and_voltage_are_readable(connected, emulator):
    assert connected.bus.read("Present_Voltage", "gripper") == 74
    emulator.inject(Fault("overheat", servos=(6,), value=69), Fault("low_voltage", value=4.2))
    assert connected.bus.read("Present_Temperature", "gripper") == 69  # below the limit
    assert connected.bus.read("Present_Voltage", "gripper") == 42


def test_a_brown_out_takes_torque_silently(connected, emulator):
    emulator.inject(Fault("brown_out", duration=0.2))
    until(lambda: emulator.faults()[-1]["over"])
    clear_input(connected)
    connected.get_observation()
    assert emulator.state().limp.all()
    assert connected.bus.read("Torque_Enable", "elbow_flex") == 0
    assert connected.bus.is_calibrated


def test_a_lost_command_is_not_obeyed(connected, emulator):
    before = len(emulator.commands())
    emulator.inject(Fault("lose", servos=(1,), count=1))
    connected.send_action({"shoulder_pan.pos": 40.0, "gripper.pos": 30.0})
    until(lambda: len(emulator.commands()) > before)
    assert emulator.commands()[before:]["joint"].tolist() == [5]


def test_unplug_raises_and_the_same_port_works_again(connected, emulator):
    emulator.inject(Fault("unplug"))
    with pytest.raises(Exception, match=r"Input/output error|returned no data|Connection"):
        connected.get_observation()
    assert not os.path.lexists(emulator.port)
    connected.bus.port_handler.closePort()
    connected.bus.port_handler.is_using = False
    with pytest.raises(ConnectionError, match="Could not connect"):
        connected.connect(calibrate=False)
    emulator.clear()
    connected.connect(calibrate=False)
    connected.get_observation()


@pytest.mark.slow
def test_swapped_ids_do_not_pass_for_this_arm(tmp_path):
    with EmulatedBus(EmulatorConfig(LiftConfig(), ids=(2, 1, 3, 4, 5, 6))) as bus:
        bus.write_calibration(tmp_path, "arm")
        config = SO101FollowerConfig(
            port=bus.port, id="arm", calibration_dir=tmp_path, use_degrees=True
        )
        robot = SO101Follower(config)
        robot.connect(calibrate=False)
        assert not robot.is_calibrated
        robot.disconnect()


@pytest.mark.slow
def test_the_pose_and_schedule_that_were_asked_for(tmp_path):
    pose = (0.5, -1.7, 1.6, 0.3, 0.2, 0.1)
    config = EmulatorConfig(LiftConfig(), pose=pose, faults=(Fault("unplug", start=0.5),))
    with EmulatedBus(config) as bus:
        assert abs(bus.state().qpos[0] - 0.5) < 0.1
        assert bus.state().limp.all()
        until(lambda: not bus.state().plugged)
        assert np.isfinite(bus.state().qpos).all()


@pytest.mark.slow
def test_a_lerobot_command_line_tool(emulator, tmp_path):
    """`lerobot-calibrate` with a file that fits: ENTER takes it, and nothing changes."""
    tool = Path(sys.executable).with_name("lerobot-calibrate")
    emulator.write_calibration(tmp_path, "arm")
    text = (tmp_path / "arm.json").read_text()
    arguments = ["--robot.type=so101_follower", f"--robot.port={emulator.port}", "--robot.id=arm"]
    done = subprocess.run(
        [tool, *arguments, f"--robot.calibration_dir={tmp_path}"],
        input="\n",
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "arm.json").read_text() == text
    assert emulator.state().limp.all()
