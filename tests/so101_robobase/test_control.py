"""Controllers stay within limits, follow actions, and treat every arm alone."""

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.clearance import Clearance
from so101_robobase.arm.control import ControlConfig, make_controller
from so101_robobase.arm.kinematics import Kinematics, rotation_error, rpy
from so101_robobase.arm.model import SO101
from so101_robobase.sim.scene import build_scene

DOWN = np.array([0.0, 0.15, 0.25, 1.17, 1.5708, 0.8])  # points down above (0.24, 0)


@pytest.fixture(scope="module")
def kinematics():
    return Kinematics.from_model(build_scene().model)


@pytest.fixture(scope="module")
def joint_range():
    return build_scene().model.jnt_range[:6].copy()


@pytest.fixture(scope="module")
def clearance():
    return Clearance(build_scene().model)


@pytest.fixture
def make(kinematics, joint_range, clearance):
    def build(num_envs=1, **config):
        controller = make_controller(
            ControlConfig(**config), kinematics, joint_range, num_envs, clearance
        )
        controller.reset(np.tile(DOWN, (num_envs, 1)))
        return controller

    return build


def follow(controller, action, steps, joint_pos):
    """Joint positions of perfect servos after `steps` calls with one action."""
    for _ in range(steps):
        joint_pos = controller(np.atleast_2d(action), joint_pos)
    return joint_pos


def test_joint_deltas_add_to_the_target(make):
    controller = make()
    action = np.array([[1, -1, 0.5, 0, 2, -1]])
    target = controller(action, DOWN[None])
    np.testing.assert_allclose(target - DOWN, [[0.05, -0.05, 0.025, 0, 0.05, -0.1]])
    # the joints have not moved yet, but the next delta adds to the target all the same
    target = controller(action, DOWN[None])
    np.testing.assert_allclose(target - DOWN, [[0.1, -0.1, 0.05, 0, 0.1, -0.2]])


def test_a_blocked_joint_does_not_wind_up(make):
    controller = make()
    for _ in range(100):
        controller(-np.ones((1, 6)), DOWN[None])
    np.testing.assert_allclose(controller.target - DOWN, [[-0.15] * 5 + [-0.3]])


@pytest.mark.parametrize("mode", ["joint_delta", "cartesian_delta"])
def test_targets_stay_within_the_joint_limits(make, joint_range, mode):
    controller = make(mode=mode)
    rng = np.random.default_rng(0)
    joint_pos = DOWN[None]
    for _ in range(300):
        action = np.sign(rng.normal(0.5, 1, (1, controller.action_dim)))
        joint_pos = controller(action, joint_pos)
        assert np.all(joint_pos >= joint_range[:, 0])
        assert np.all(joint_pos <= joint_range[:, 1])


def test_cartesian_actions_move_the_tcp_by_the_scale_and_keep_its_lean(make, kinematics):
    controller = make(mode="cartesian_delta")
    start, frame = kinematics.forward(DOWN[None])
    joint_pos = follow(controller, [-0.25, 0.25, 0.25, 0], 10, DOWN[None])
    end, after = kinematics.forward(joint_pos)
    np.testing.assert_allclose(end - start, [[-0.05, 0.05, 0.05]], atol=2e-3)
    np.testing.assert_allclose(rpy(after)[:, :2], rpy(frame)[:, :2], atol=0.06)


def test_zero_cartesian_action_holds_still(make):
    joint_pos = follow(make(mode="cartesian_delta"), [0, 0, 0, 0], 50, DOWN[None])
    np.testing.assert_allclose(joint_pos[:, :5], DOWN[None, :5], atol=1e-6)


def test_the_gripper_action_is_an_absolute_opening(make, joint_range):
    for action, expected in ((-1, joint_range[5, 0]), (1, joint_range[5, 1])):
        joint_pos = follow(make(mode="cartesian_delta"), [0, 0, 0, action], 20, DOWN[None])
        assert joint_pos[0, 5] == pytest.approx(expected)


def test_the_set_point_stays_in_the_workspace_and_near_the_tcp(make, kinematics):
    controller = make(mode="cartesian_delta")
    tcp = kinematics.forward(DOWN[None])[0]
    for _ in range(50):  # the arm is blocked
        controller(np.array([[1.0, 0, 0, 0]]), DOWN[None])
    assert np.linalg.norm(controller.set_point - tcp) == pytest.approx(0.04)
    joint_pos = follow(make(mode="cartesian_delta"), [0, 0, -1, 0], 50, DOWN[None])
    assert kinematics.forward(joint_pos)[0][0, 2] == pytest.approx(0.01, abs=1e-3)


def test_lock_wrist_holds_the_roll_at_ninety_degrees(make):
    tilted = DOWN.copy()
    tilted[4] = 1.3
    controller = make(mode="cartesian_delta", lock_wrist=True)
    controller.reset(tilted[None])
    joint_pos = follow(controller, [0.3, 0.8, 0, 0], 10, tilted[None])
    assert joint_pos[0, 4] == pytest.approx(np.pi / 2)


def test_lean_is_kept_relative_to_the_arm_when_it_turns(make, kinematics):
    leaning = DOWN.copy()
    leaning[3] -= 0.4
    controller = make(mode="cartesian_delta")
    controller.reset(leaning[None])
    joint_pos = follow(controller, [0, 0.5, 0, 0], 8, leaning[None])
    assert abs(joint_pos[0, 0]) > 0.2  # the shoulder has turned
    assert joint_pos[0, 1:4].sum() == pytest.approx(leaning[1:4].sum(), abs=0.08)
    assert np.abs(rotation_error(*(kinematics.forward(q)[1] for q in (joint_pos, leaning[None]))))[
        0, 2
    ] == pytest.approx(abs(joint_pos[0, 0]), abs=0.15)


@pytest.mark.parametrize("mode", ["joint_delta", "cartesian_delta"])
def test_an_arm_moves_alike_alone_and_among_sixteen(make, mode):
    rng = np.random.default_rng(0)
    together, alone = make(16, mode=mode), make(1, mode=mode)
    joint_pos = np.tile(DOWN, (16, 1))
    for _ in range(10):
        action = rng.uniform(-1, 1, (16, together.action_dim))
        measured = joint_pos + rng.uniform(-0.01, 0.01, joint_pos.shape)
        joint_pos = together(action, measured)
        np.testing.assert_array_equal(alone(action[7:8], measured[7:8]), joint_pos[7:8])


@pytest.mark.parametrize("mode", ["joint_delta", "cartesian_delta"])
def test_reset_touches_only_the_arms_it_names(make, mode):
    controller = make(3, mode=mode)
    follow(controller, np.full((3, controller.action_dim), 0.5), 3, np.tile(DOWN, (3, 1)))
    before = controller.state_dict()
    controller.reset(DOWN[None], np.array([1]))
    after = controller.state_dict()
    for name, rows in before.items():
        np.testing.assert_array_equal(after[name][[0, 2]], rows[[0, 2]])
    np.testing.assert_array_equal(controller.target[1], DOWN)


@pytest.mark.parametrize("mode", ["joint_delta", "cartesian_delta"])
def test_a_restored_controller_continues_bit_for_bit(make, mode):
    rng = np.random.default_rng(0)
    first, second = make(2, mode=mode), make(2, mode=mode)
    joint_pos = np.tile(DOWN, (2, 1))
    for _ in range(5):
        joint_pos = first(rng.uniform(-1, 1, (2, first.action_dim)), joint_pos)
    second.load_state_dict(first.state_dict())
    action = rng.uniform(-1, 1, (2, first.action_dim))
    np.testing.assert_array_equal(first(action, joint_pos), second(action, joint_pos))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"mode": "torque"},
            "mode=torque is not allowed; give joint_delta or cartesian_delta",
        ),
        ({"joint_scale": (0, 0.1)}, "give a list of 1 to 100, each a number above 0"),
        ({"joint_scale": (0.1, 0.1)}, "joint_scale has 2 numbers, the arm 6 joints: shoulder_pan"),
        ({"cartesian_scale": -1}, "cartesian_scale=-1 is not allowed; give a number above 0"),
        ({"floor": -0.1}, "floor=-0.1 is not allowed; give a number from 0 to 0.2, or null"),
        ({"floor": float("nan")}, "floor=nan is not allowed"),
        ({"tilt_weight": -1}, "tilt_weight=-1 is not allowed; give a number from 0 to 10"),
        ({"workspace_low": (1, 0, 0)}, "workspace_low must be below"),
        ({"lock_wrist": True}, "lock_wrist=true needs control.mode=cartesian_delta"),
    ],
)
def test_bad_settings_are_named(config, message):
    with pytest.raises(UserError, match=message):
        ControlConfig(**config).of(SO101)


PRESSING = {
    "joint_delta": np.array([0.0, 1, 0, 0, 0, 0]),  # the shoulder brings the arm down
    "cartesian_delta": np.array([0.0, 0, -1, 1]),
}


@pytest.mark.parametrize("mode", ["joint_delta", "cartesian_delta"])
def test_no_target_comes_below_the_floor(make, clearance, mode):
    free, kept = (
        make(mode=mode, workspace_low=(0.1, -0.3, -0.1)),
        make(mode=mode, workspace_low=(0.1, -0.3, -0.1), floor=0.01),
    )
    assert float(clearance(follow(free, PRESSING[mode], 30, DOWN[None])[0]).clearance) < 0
    pose, lowest = DOWN[None], np.inf
    for _ in range(30):
        pose = kept(PRESSING[mode][None], pose)
        lowest = min(lowest, float(clearance(pose[0]).clearance))
    assert 0.01 <= lowest < 0.011


@pytest.mark.parametrize("mode", ["joint_delta", "cartesian_delta"])
def test_above_the_floor_it_changes_nothing(make, mode):
    up = -PRESSING[mode]
    np.testing.assert_array_equal(
        follow(make(mode=mode, floor=0.01), up, 5, DOWN[None]),
        follow(make(mode=mode), up, 5, DOWN[None]),
    )


def test_on_the_floor_the_gripper_still_closes_and_the_arm_still_rises(make, clearance):
    controller = make(floor=0.01)
    pose = follow(controller, PRESSING["joint_delta"], 30, DOWN[None])
    closed = follow(controller, np.array([0.0, 1, 0, 0, 0, -1]), 5, pose)
    assert closed[0, 5] < pose[0, 5] - 0.3
    risen = follow(controller, -PRESSING["joint_delta"], 5, closed)
    assert float(clearance(risen[0]).clearance) > 0.05


def test_a_target_that_is_below_the_floor_goes_no_deeper_but_may_rise(make, clearance):
    start = follow(make(), PRESSING["joint_delta"], 8, DOWN[None])
    depth = float(clearance(start[0]).clearance)
    assert depth < 0.03
    controller = make(floor=0.2)
    controller.reset(start)
    pressed = follow(controller, PRESSING["joint_delta"], 3, start)
    assert float(clearance(pressed[0]).clearance) >= depth
    risen = follow(controller, -PRESSING["joint_delta"], 3, pressed)
    assert float(clearance(risen[0]).clearance) > depth + 0.01


def test_one_arm_on_the_floor_leaves_the_others_alone(make):
    actions = np.stack([PRESSING["joint_delta"], -PRESSING["joint_delta"]])
    both, alone = make(num_envs=2, floor=0.01), make(floor=0.01)
    pair, one = np.stack([DOWN, DOWN]), DOWN[None]
    for _ in range(20):
        pair, one = both(actions, pair), alone(actions[1:], one)
    np.testing.assert_array_equal(pair[1:], one)


def test_an_arm_on_the_floor_that_is_pushed_away_gives_way(make):
    controller = make(floor=0.01)
    pose = follow(controller, PRESSING["joint_delta"], 30, DOWN[None])
    pushed = pose + np.array([[0.6, 0, 0, 0, 0, 0]])
    target = controller(PRESSING["joint_delta"][None], pushed)
    assert np.abs(target - pushed).max() <= 0.15 + 1e-9


def test_a_floor_needs_the_arms_clearance(kinematics, joint_range):
    with pytest.raises(ValueError, match="clearance"):
        make_controller(ControlConfig(floor=0.0), kinematics, joint_range, 1)
