"""What of a joint's faults can be seen while it moves, and that healthy arms are left alone."""

import itertools

import numpy as np
import pytest

from so101_robobase.arm.clearance import Clearance
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.emulator.faults import Fault
from so101_robobase.robot.loop.arm import assemble_arm
from so101_robobase.robot.loop.arm_loop import ArmLoop, Ending
from so101_robobase.robot.loop.driver import MotorHealth
from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.safety.body_watch import BodyLimits, BodyWatch
from so101_robobase.robot.safety.monitor import GO, HOLD, STOP, Verdict, worst
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.sim.scene import build_scene
from so101_robobase.tasks.lift.config import LiftConfig

HIGH = np.array([0.0, -0.66, 0.06, 1.57, 1.57, 1.07])  # 10 cm above the table
LOW = np.array([0.0, 0.15, 0.25, 1.17, 1.57, 0.8])  # 3 cm above it
SHOULDER, GRIPPER = 1, 5


@pytest.fixture(scope="module")
def clearance():
    return Clearance(build_scene().model)


@pytest.fixture
def watch(clearance):
    return BodyWatch(clearance)


def play(watch, joint_pos, command, seconds, begin=0.0):
    """The worst that is said while joints and commands, functions of time, go on."""
    said = Verdict(GO, "")
    for tick in range(round(seconds / CONTROL_PERIOD) + 1):
        now = tick * CONTROL_PERIOD
        watch.on_reading(begin + now, joint_pos(now), command(now))
        said = max(said, watch.verdict(), key=lambda one: (GO, HOLD, STOP).index(one.kind))
    return said


def by(joint, angle):
    return angle * np.eye(6)[joint]


def test_a_slow_late_servo_that_sags_is_healthy(watch):
    def command(now):
        return HIGH + by(SHOULDER, 0.5 * np.sin(3 * now))

    def joint_pos(now):
        return command(max(0.0, now - 0.09)) + by(SHOULDER, 0.06)

    assert play(watch, joint_pos, command, 4).kind == GO


@pytest.mark.parametrize("joint", range(6))
def test_motion_that_nobody_ordered_holds_and_then_stops(watch, joint):
    kind, reason = play(watch, lambda now: HIGH + by(joint, min(0.15, now)), lambda now: HIGH, 0.3)
    assert kind == HOLD
    assert reason.startswith(f"{JOINTS[joint]} has moved +9 degrees that nobody told it to move")
    assert play(watch, lambda now: HIGH + by(joint, 0.15), lambda now: HIGH, 0.6, 0.32).kind == STOP


def test_one_false_reading_is_not_believed(watch):
    def joint_pos(now):
        return HIGH + by(2, 0.8 if abs(now - 0.5) < 0.001 else 0)

    assert play(watch, joint_pos, lambda now: HIGH, 1).kind == GO


def test_a_jump_that_is_confirmed_stops(watch):
    said = play(watch, lambda now: HIGH + by(2, 0.8 * (now > 0.5)), lambda now: HIGH, 0.56)
    assert said.kind == STOP


@pytest.mark.parametrize(("pose", "seconds"), [(HIGH, 0.4), (LOW, 1.2)])
def test_a_joint_that_does_not_answer_stops_sooner_where_nothing_can_be_in_its_way(
    watch, pose, seconds
):
    def command(now):
        return pose - by(SHOULDER, 0.1)

    assert play(watch, lambda now: pose, command, seconds - 0.04).kind == GO
    kind, reason = play(watch, lambda now: pose, command, 0.1, seconds - 0.02)
    assert kind == STOP
    assert "shoulder_lift does not answer: told to move -6 degrees, it has moved" in reason


def test_a_gripper_that_grasps_is_healthy_one_that_does_not_open_is_not(watch):
    assert play(watch, lambda now: HIGH, lambda now: HIGH - by(GRIPPER, 0.3), 3).kind == GO
    watch.reset()
    assert play(watch, lambda now: HIGH, lambda now: HIGH + by(GRIPPER, 0.3), 3).kind == STOP


def test_load_at_rest_holds_and_stops_where_weight_does_not_explain_it(watch, clearance):
    weight = abs(clearance.weight(HIGH)[2])
    play(watch, lambda now: HIGH, lambda now: HIGH, 1.2)
    for load, kind in ((2 * weight + 0.39, GO), (-0.9, HOLD), (0.3, GO), (0.9, HOLD), (0.9, STOP)):
        watch.on_health(2, MotorHealth(JOINTS[2], 30, 7.4, load))
        assert watch.verdict().kind == kind
    assert "elbow_flex bears 90% of its torque at rest" in watch.verdict().reason


def test_load_while_moving_is_healthy(watch):
    play(watch, lambda now: HIGH, lambda now: HIGH + by(2, 0.01 * now), 1.2)
    watch.on_health(2, MotorHealth(JOINTS[2], 30, 7.4, 0.9))
    assert watch.verdict().kind == GO


def lowered(clearance, height):
    pose = LOW.copy()
    while clearance(pose).clearance > height:
        pose[1] += 0.001
    return pose


def test_far_below_the_table_stops_at_once_a_little_after_a_second(watch, clearance):
    deep, little = lowered(clearance, -0.021), lowered(clearance, -0.008)
    kind, reason = play(watch, lambda now: deep, lambda now: deep, CONTROL_PERIOD)
    assert kind == STOP
    assert "by its encoders the arm is 21 mm below the table" in reason
    watch.reset()
    assert play(watch, lambda now: little, lambda now: little, 0.98).kind == GO
    assert play(watch, lambda now: little, lambda now: little, 0.1, 1).kind == STOP


def test_an_arm_that_rises_from_below_the_table_is_let_rise(watch, clearance):
    little = lowered(clearance, -0.015)

    def rising(now):
        return little - by(1, 0.03 * now)

    assert clearance(rising(1.2)).clearance < -BodyLimits().low
    assert play(watch, rising, rising, 1.2).kind == GO


def test_the_worse_verdict_counts_and_equals_are_both_told():
    go, hold, stop = Verdict(GO, ""), Verdict(HOLD, "a"), Verdict(STOP, "b")
    assert worst([go, hold]) == worst([hold, go]) == hold
    assert worst([hold, stop]) == stop
    assert worst([hold, Verdict(HOLD, "c")]) == Verdict(HOLD, "a; c")
    assert worst([go, go]) == go


@pytest.fixture(scope="module")
def body():
    return Body(LiftConfig(stage=0))


def sway(body, fault, seconds=3.0):
    """A loop that sways all joints of a simulated arm with `fault`: ending, log, driver."""
    body.begin(0)
    driver, events = SimulatedDriver(body), EventLog()
    if fault is not None:
        driver.faults.inject(fault, 0.0)
    arm = assemble_arm(driver, body.sim.scene.model, driver.clock, events)
    loop, ending = ArmLoop(arm), Ending()

    def work():
        arm.monitor.watch_frames(False)
        begin = arm.command
        for tick in range(round(seconds / CONTROL_PERIOD)):
            if loop.tick():
                arm.send(begin + 0.4 * np.sin(3 * tick * CONTROL_PERIOD))

    loop.run(work, ending)
    driver.faults.clear()
    driver.connect()
    return ending, events, driver


def test_a_healthy_simulated_arm_sways_undisturbed(body):
    ending, events, _ = sway(body, None)
    assert ending.stopped is None
    assert "body" not in events.counts


@pytest.mark.parametrize(
    ("kind", "joint"),
    [
        *itertools.product(["reversed", "runaway"], range(6)),
        *itertools.product(["frozen"], range(5)),  # a gripper may be kept from closing
    ],
)
def test_joints_that_do_not_do_as_they_are_told_stop_the_loop(body, kind, joint):
    ending, events, driver = sway(body, Fault(kind, servos=[joint + 1]))
    assert ending.stopped is not None
    assert JOINTS[joint] in ending.stopped
    assert events.counts["body"] >= 1
    assert driver.clock.now() < 3
    assert ending.unconfirmed == []


@pytest.mark.parametrize("joint", [1, 2])
def test_joints_too_weak_for_their_weight_stop_the_loop(body, joint):
    ending, _, _ = sway(body, Fault("weak", servos=[joint + 1], start=0.5, value=0.01))
    assert ending.stopped is not None
    assert JOINTS[joint] in ending.stopped


def test_an_encoder_that_shows_too_much_cannot_be_seen_in_free_air(body):
    for kind, value in (("offset", 0.2), ("drift", 0.05)):
        ending, events, _ = sway(body, Fault(kind, servos=[1], value=value))
        assert ending.stopped is None
        assert "body" not in events.counts


def test_servos_tell_what_they_hold_and_not_what_moves_them(body):
    body.begin(0)
    driver = SimulatedDriver(body)
    driver.connect()
    begin = body.joint_pos
    clearance = Clearance(body.sim.scene.model)

    def loads():
        return np.array([driver.health(joint).load for joint in range(6)])

    driver.clock.wait_until(0.5)
    friction = 0.02
    np.testing.assert_allclose(loads(), clearance.weight(body.joint_pos), atol=friction)
    for tick in range(1, 11):  # 1 rad/s: the servos are always more than 3 mrad behind
        driver.write(driver.units.to_servo(begin + by(0, CONTROL_PERIOD * tick)))
        driver.clock.wait_until(0.5 + CONTROL_PERIOD * tick)
        assert abs(loads()[0]) < 0.5
    for tick in range(1, 101):  # down, until the table is in the way
        way = min(1.0, tick / 50) * (LOW + by(SHOULDER, 0.25) - begin)
        driver.write(driver.units.to_servo(begin + way))
        driver.clock.wait_until(0.7 + CONTROL_PERIOD * tick)
    assert abs(loads()[SHOULDER]) > 0.95
    assert driver.release() == []
    driver.clock.wait_until(3.0)
    assert (loads() == 0).all()
    driver.connect()


def test_faults_of_joints_do_to_them_what_they_say(body):
    body.begin(0)
    driver = SimulatedDriver(body, resolution=0)
    for fault in (
        Fault("offset", servos=[1], value=0.2),
        Fault("gain", servos=[2], value=0.5),
        Fault("mirrored", servos=[3]),
        Fault("drift", servos=[4], value=0.1),
        Fault("reversed", servos=[5]),
        Fault("runaway", servos=[6], value=-0.1),
    ):
        driver.faults.inject(fault, 0.0)
    begin = body.joint_pos
    driver.connect()
    shown = driver.units.to_model(driver.read().position)
    np.testing.assert_allclose(shown - begin, [0.2, 0, -2 * begin[2], 0, 0, 0], atol=1e-9)
    driver.write(driver.units.to_servo(shown + 0.1))
    driver.clock.wait_until(1.0)
    moved = body.joint_pos - begin
    np.testing.assert_allclose(moved, [0.1, 0.05, -0.1, 0.0, -0.1, -0.1], atol=2e-3)
    shown = driver.units.to_model(driver.read().position)
    np.testing.assert_allclose(shown[3], begin[3] + 0.1, atol=2e-3)
    driver.faults.clear()
    driver.connect()
