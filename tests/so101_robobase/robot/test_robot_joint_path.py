"""Slow moves get to their goal past the table, or say that they cannot."""

from itertools import pairwise

import numpy as np
import pytest

from so101_robobase.arm.clearance import Clearance
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.robot.safety.filter import SafetyFilter, SafetyLimits
from so101_robobase.robot.safety.joint_path import PATIENCE, UnreachableError, joint_path, plan
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.sim.scene import build_scene
from so101_robobase.tasks.lift.config import LiftConfig

READY = np.array([0.0, -0.7, 0.02, 1.57, 1.57, 1.07])
FOLDED = np.array([0.0, -1.7, 1.6, 0.9, 1.57, 0.0])  # at rest, 3 cm above the table
ON_TABLE = np.array([0.0, -1.745, 1.69, 1.2, 0.0, 0.0])  # as a misaligned arm seems to rest
LEFT, RIGHT = (np.array([pan, 0.35, 0.0, 1.0, 1.57, 0.0]) for pan in (0.5, -0.5))  # near the table
LEANING_BACK = np.array([-1.72, -0.97, -1.41, -1.16, -2.05, 0.54])


@pytest.fixture(scope="module")
def clearance():
    return Clearance(build_scene().model)


@pytest.fixture
def safety(clearance):
    return SafetyFilter(SafetyLimits(), build_scene().model.actuator_ctrlrange, clearance)


def violations(path, safety):
    return np.array([safety.violation(pose) for pose in path])


@pytest.mark.parametrize("start", [READY, FOLDED, ON_TABLE, LEFT])
@pytest.mark.parametrize("goal", [READY, FOLDED, RIGHT])
def test_plans_end_at_the_goal_slowly_and_violate_nothing_more_than_at_the_start(
    safety, start, goal
):
    path = plan(start, goal, safety)
    whole = np.vstack([start, path])
    np.testing.assert_allclose(whole[-1], goal, atol=1e-12)
    steps = np.abs(np.diff(whole, axis=0))
    assert (steps <= np.array(safety.limits.slow_speed) * CONTROL_PERIOD + 1e-9).all()
    assert (np.diff(violations(whole, safety)) <= 0).all()
    assert violations(whole, safety)[-1] == 0


def test_a_plan_begins_and_ends_gently(safety):
    steps = np.abs(np.diff(np.vstack([READY, plan(READY, LEFT, safety)]), axis=0)).max(axis=1)
    assert steps[0] < 0.02 * steps.max()
    assert steps[-1] < 0.02 * steps.max()


def test_where_the_straight_way_is_too_low_the_arm_goes_over_it(safety, clearance):
    low = np.array([-0.7, 0.3, 1.15, -1.18, 1.57, 0.0])  # fingers up, elbow near the table
    goal = np.array([-0.27, 0.02, 0.76, 1.46, 1.57, 0.0])  # fingers down
    straight = low + np.linspace(0, 1, 100)[:, None] * (goal - low)
    assert violations([low, goal], safety).max() == 0
    assert violations(straight, safety).max() > 0.03
    path = plan(low, goal, safety)
    assert violations(path, safety).max() == 0
    np.testing.assert_allclose(path[-1], goal)


def test_most_allowed_poses_are_within_reach_of_each_other(safety):
    rng = np.random.default_rng(0)
    poses = []
    while len(poses) < 41:
        pose = rng.uniform(safety.lower, safety.upper)
        if safety.violation(pose) == 0:
            poses.append(pose)
    planned = 0
    for start, goal in pairwise(poses):
        try:
            path = plan(start, goal, safety)
        except UnreachableError:
            continue
        planned += 1
        assert violations(path, safety).max() == 0
    assert planned >= 36


@pytest.mark.parametrize("goal", [ON_TABLE, READY + np.array([0, 2.0, 0, 0, 0, 0])])
def test_a_goal_that_is_not_allowed_is_approached(safety, clearance, goal):
    path = plan(READY, goal, safety)
    assert violations(path, safety).max() == 0
    assert clearance(path[-1]).clearance < 0.01
    assert np.abs(path[-1] - goal).max() < 1.7


def test_there_is_no_way_to_go_where_the_arm_is(safety):
    assert plan(READY, READY, safety).shape == (0, 6)
    assert list(joint_path(READY, READY, safety)) == []


def test_where_no_way_is_found_it_says_what_to_do(safety):
    with pytest.raises(UnreachableError, match=r"no safe way .* raise the gripper .* by hand"):
        plan(LEANING_BACK, READY, safety)


def test_the_simulated_arm_arrives(safety):
    body = Body(LiftConfig(stage=0))
    body.begin(1)
    driver = SimulatedDriver(body)
    driver.connect()
    safety.reset(body.joint_pos)
    ticks = 0
    for goal in (FOLDED, LEFT, READY):
        for target in joint_path(safety.command, goal, safety):
            command = safety.filter(target, driver.units.to_model(driver.read().position)).command
            driver.write(driver.units.to_servo(command))
            ticks += 1
            driver.clock.wait_until(ticks * CONTROL_PERIOD)
        np.testing.assert_allclose(body.joint_pos, goal, atol=0.05)


def test_an_arm_that_is_held_makes_the_move_wait_and_then_fail(safety):
    safety.reset(READY)
    commands = []

    def move():
        for target in joint_path(READY, LEFT, safety):
            commands.append(safety.filter(target, READY).command)

    with pytest.raises(UnreachableError, match="is held back; free the arm"):
        move()
    np.testing.assert_array_equal(commands[-1], commands[-PATIENCE])
    leads = np.abs(commands[-1] - READY)
    assert leads.max() > 0.1
    assert (leads <= np.array(safety.limits.max_lead) + 1e-9).all()


def test_an_arm_that_is_let_go_in_time_goes_on(safety):
    safety.reset(READY)
    for tick, target in enumerate(joint_path(READY, LEFT, safety)):
        safety.filter(target, READY if tick < 50 else safety.command)
    np.testing.assert_allclose(safety.command, LEFT, atol=1e-6)
