"""The arm as the loop sees it, on a simulated arm that can be told to fail."""

import numpy as np
import pytest

from so101_robobase.arm.alignment import Alignment
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.loop.arm import assemble_arm
from so101_robobase.robot.loop.driver import DriverError
from so101_robobase.robot.loop.dry_run import DryRun
from so101_robobase.robot.safety.filter import SafetyLimits
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.tasks.lift.config import LiftConfig

TICK = 0.02
ALIGNMENT = Alignment(
    direction=(1, -1, 1, -1, 1), zero=(3, -2, 5, 0, 1), gripper_closed=4, gripper_open=90
)


class Failing(SimulatedDriver):
    """Fails where told to; remembers what it was told."""

    def __init__(self, body, alignment):
        super().__init__(body, alignment, resolution=0)
        self.fails = set()
        self.told = []
        self.asked = []
        self.stuck = []

    def read(self):
        self._fail("read")
        return super().read()

    def write(self, position):
        self._fail("write")
        self.told.append(np.array(position))
        super().write(position)

    def health(self, joint):
        self.asked.append(joint)
        self._fail("health")
        return super().health(joint)

    def release(self):
        super().release()
        return self.stuck

    def _fail(self, call):
        if call in self.fails:
            raise DriverError(f"no {call}")


@pytest.fixture
def driver():
    return Failing(Body(LiftConfig(stage=0)), ALIGNMENT)


@pytest.fixture
def make(driver):
    """make(driver) -> a connected arm."""

    def made(used=driver):
        physics = driver.body.sim.scene.model
        arm = assemble_arm(used, physics, driver.clock, alignment=ALIGNMENT)
        arm.connect()
        return arm

    return made


def tick(arm):
    arm.clock.wait_until(arm.clock.now() + TICK)


def test_the_pose_in_which_it_is_found_is_its_first_command(make, driver):
    arm = make()
    np.testing.assert_allclose(arm.joint_pos, driver.body.joint_pos, atol=1e-12)
    np.testing.assert_array_equal(arm.command, arm.joint_pos)
    assert not arm.joint_vel.any()


def test_radians_go_in_and_out_servo_units_to_the_servos(make, driver):
    arm = make()
    target = arm.command + 0.01
    arm.send(target)
    np.testing.assert_allclose(arm.command, target, atol=1e-12)
    np.testing.assert_allclose(driver.told, [arm.units.to_servo(target)], atol=1e-9)
    np.testing.assert_allclose(arm.servo_command, driver.told[0], atol=1e-9)
    np.testing.assert_allclose(arm.servo_pos, driver.read().position, atol=1e-9)


def test_velocities_are_differences_over_the_time_between_readings(make, driver):
    arm = make()
    arm.send(arm.command + np.array([0.05, 0, 0, 0, 0, 0]))
    positions, times = [arm.joint_pos], [arm.time]
    for pause in (1, 1, 3):
        for _ in range(pause):
            tick(arm)
        assert arm.read()
        positions.append(arm.joint_pos)
        times.append(arm.time)
        expected = (positions[-1] - positions[-2]) / (times[-1] - times[-2])
        np.testing.assert_array_equal(arm.joint_vel, expected)
    assert times[-1] - times[-2] == pytest.approx(3 * TICK)
    assert np.abs(arm.joint_vel).max() > 0.01


def test_a_reading_that_fails_changes_nothing_and_is_logged(make, driver):
    arm = make()
    arm.send(arm.command + 0.02)
    tick(arm)
    arm.read()
    position, velocity, time = arm.joint_pos.copy(), arm.joint_vel.copy(), arm.time
    driver.fails = {"read"}
    tick(arm)
    assert not arm.read()
    np.testing.assert_array_equal(arm.joint_pos, position)
    np.testing.assert_array_equal(arm.joint_vel, velocity)
    assert arm.time == time
    assert arm.events.counts == {"read_failed": 1}
    assert arm.monitor.verdict(arm.clock.now()).kind == "hold"
    driver.fails = set()
    tick(arm)
    assert arm.read()
    np.testing.assert_allclose(arm.joint_vel, (arm.joint_pos - position) / (2 * TICK), atol=1e-9)


def test_an_arm_that_falls_silent_right_after_connecting_is_not_waited_for(make, driver):
    arm = make()
    driver.fails = {"read"}
    verdicts = []
    for _ in range(3):
        tick(arm)
        arm.read()
        verdicts.append(arm.monitor.verdict(arm.clock.now()).kind)
    assert verdicts == ["hold", "hold", "stop"]


def test_safety_stands_before_the_servos(make, driver):
    arm = make()
    arm.send(arm.command + 3.0)
    step = np.abs(arm.units.to_model(driver.told[0]) - arm.joint_pos)
    assert (step <= np.array(SafetyLimits().max_step) + 1e-9).all()
    assert arm.events.counts == {"limited": 1}


def test_commands_that_were_not_sent_do_not_add_up(make, driver):
    arm = make()
    before = arm.command
    driver.fails = {"write"}
    for _ in range(3):
        arm.send(before + np.array([0.5, 0, 0, 0, 0, 0]))
    np.testing.assert_array_equal(arm.command, before)
    assert arm.events.counts["write_failed"] == 3
    driver.fails = set()
    arm.send(before + np.array([0.5, 0, 0, 0, 0, 0]))
    step = np.abs(arm.units.to_model(driver.told[0]) - before)
    assert (step <= np.array(SafetyLimits().max_step) + 1e-9).all()


def test_servos_are_asked_in_turn_how_they_are(make, driver):
    arm = make()
    driver.fails = {"health"}
    for _ in range(7):
        arm.ask_health()
    assert driver.asked == [0, 1, 2, 3, 4, 5, 0]
    failed = [event["motor"] for event in arm.events.events]
    assert failed == [*JOINTS, JOINTS[0]]


def test_release_names_motors_that_did_not_confirm(make, driver):
    arm = make()
    driver.stuck = ["wrist_flex"]
    assert arm.release() == ["wrist_flex"]
    assert driver.body.limp.all()
    assert arm.events.events[-1]["unconfirmed"] == ["wrist_flex"]


def test_an_arm_that_does_not_answer_at_first_is_an_error(make, driver):
    driver.fails = {"read"}
    with pytest.raises(DriverError, match="no read"):
        make()


def test_in_a_dry_run_the_command_follows_the_hand(make, driver):
    arm = make(DryRun(driver))
    assert not arm.accepts_commands
    assert driver.body.limp.all()
    for _ in range(25):  # it sinks, as in a hand
        tick(arm)
    arm.read()
    assert np.abs(arm.command - arm.joint_pos).max() > 0.01
    arm.follow()
    np.testing.assert_array_equal(arm.command, arm.joint_pos)
    arm.send(arm.command + 0.02)
    assert driver.told == []


def test_a_dry_run_needs_torque_to_be_off(make, driver):
    driver.stuck = ["gripper"]
    with pytest.raises(DriverError, match="torque may still be on in gripper"):
        make(DryRun(driver))
