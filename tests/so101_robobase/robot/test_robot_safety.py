"""Whatever comes in, what goes out keeps every limit."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robobase.errors import UserError
from so101_robobase.arm.clearance import Clearance
from so101_robobase.arm.control import ControlConfig, make_controller
from so101_robobase.arm.model import SO101
from so101_robobase.robot.safety.filter import ALLOWED, Intervention, SafetyFilter, SafetyLimits
from so101_robobase.robot.simulated.body import Body
from so101_robobase.sim.scene import build_scene
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.pick import TopDownPick

DOWN = np.array([0.0, 0.15, 0.25, 1.17, 1.5708, 0.8])  # points down above (0.24, 0)
READY = np.array([0.0, -0.7, 0.02, 1.57, 1.57, 1.07])
ON_TABLE = np.array([0.0, -1.7, 1.65, 1.2, 1.57, 0.0])  # folded, lower than the table
SPECIAL = [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300, 0.0]


@pytest.fixture(scope="module")
def joint_range():
    return build_scene().model.actuator_ctrlrange.copy()


@pytest.fixture(scope="module")
def clearance():
    return Clearance(build_scene().model)


@pytest.fixture(scope="module")
def make(joint_range, clearance):
    def build(start=DOWN, **limits):
        safety = SafetyFilter(SafetyLimits(**limits), joint_range, clearance)
        safety.reset(start)
        return safety

    return build


def by(*changes):
    return np.array(changes)


def lower_by(safety, height):
    """A pose `height` m below the filter's command, with the shoulder."""
    pose = safety.command.copy()
    while safety.clearance(pose).clearance > safety.clearance(safety.command).clearance - height:
        pose[1] += 0.002
    return pose


def touch_down(safety):
    """Let the shoulder bring the arm down for as long as the filter lets it."""
    for _ in range(100):
        safety.filter(safety.command + by(0, 0.05, 0, 0, 0, 0), safety.command)
    return safety.command.copy()


# Limits


@pytest.mark.parametrize("name", [item.name for item in fields(SafetyLimits)])
def test_no_limit_can_be_loosened_beyond_its_bound_or_switched_off(name):
    low, high = ALLOWED[name]
    for value in (np.asarray(low) - 0.01, np.asarray(high) + 0.01, np.inf * np.ones_like(high)):
        with pytest.raises(UserError, match=rf"safety\.{name}=.* is not allowed; give .* from"):
            SafetyLimits(**{name: value.tolist()})


@pytest.mark.parametrize("value", [None, "far", (1.0, 2.0), np.nan, ("a",) * 6, (np.nan,) * 6])
@pytest.mark.parametrize("name", ["floor", "max_step"])
def test_a_limit_that_is_no_number_is_named(name, value):
    with pytest.raises(UserError, match=rf"safety\.{name}="):
        SafetyLimits(**{name: value})


def test_a_workspace_without_room_is_named():
    with pytest.raises(UserError, match="workspace_low must be below"):
        SafetyLimits(workspace_low=(0.3, 0, 0), workspace_high=(0.2, 0.1, 0.1))


def test_a_margin_without_room_is_named(joint_range, clearance):
    narrow = np.tile([-0.1, 0.1], (6, 1))
    with pytest.raises(UserError, match="leaves a joint no room"):
        SafetyFilter(SafetyLimits(joint_margin=[0.2] * 6), narrow, clearance)


def test_lists_become_what_the_defaults_are():
    assert SafetyLimits(max_step=[0.01] * 6, floor=0) == SafetyLimits(
        max_step=(0.01,) * 6, floor=0.0
    )


def test_defaults_let_the_controllers_full_steps_and_leads_pass():
    control, limits = ControlConfig().of(SO101), SafetyLimits()
    assert (np.array(control.joint_scale) < limits.max_step).all()
    assert (np.array(control.max_lead) < limits.max_lead).all()


# What passes, what does not


def test_an_ordinary_target_passes_as_it_is(make):
    safety = make()
    target = DOWN + by(0.04, -0.03, 0.02, -0.05, 0.05, 0.1)
    decision = safety.filter(target, DOWN)
    assert decision.interventions == ()
    np.testing.assert_array_equal(decision.command, target)
    np.testing.assert_array_equal(safety.command, target)


@pytest.mark.parametrize(
    "target",
    [
        np.full(6, np.nan),
        np.append(DOWN[:5], np.inf),
        DOWN[:5],
        DOWN[None],
        None,
        "down",
        [None] * 6,
        np.zeros(0),
        {},
    ],
)
def test_a_target_that_is_not_six_numbers_holds_the_last_command(make, target):
    safety = make()
    decision = safety.filter(target, DOWN)
    assert decision.interventions == (Intervention.TARGET,)
    np.testing.assert_array_equal(decision.command, DOWN)


@pytest.mark.parametrize("measured", [np.full(6, np.nan), DOWN[:3], None, "here"])
def test_without_a_measurement_the_last_command_is_held(make, measured):
    safety = make()
    decision = safety.filter(DOWN + 0.05, measured)
    assert decision.interventions == (Intervention.READING,)
    np.testing.assert_array_equal(decision.command, DOWN)


def test_a_measurement_that_jumps_is_believed_when_it_is_confirmed(make):
    safety = make()
    safety.filter(DOWN, DOWN)
    elsewhere = DOWN - by(0, 0.8, 0, 0, 0, 0)
    held = safety.filter(DOWN, elsewhere)
    assert held.interventions == (Intervention.JUMP,)
    np.testing.assert_array_equal(held.command, DOWN)
    followed = safety.filter(DOWN, elsewhere)
    assert Intervention.LEAD in followed.interventions
    assert followed.command[1] == pytest.approx(elsewhere[1] + safety.limits.max_lead[1])


def test_a_false_measurement_between_true_ones_moves_nothing(make):
    safety = make()
    safety.filter(DOWN, DOWN)
    for measured in (DOWN + 3, DOWN, DOWN):
        np.testing.assert_array_equal(safety.filter(DOWN, measured).command, DOWN)


@pytest.mark.parametrize("times", [1.1, 4.0])
def test_steps_are_shortened_along_their_way(make, times):
    safety = make()
    far = DOWN + times * by(0.06, -0.03, 0, 0, 0, -0.12)  # a step, and more of it
    decision = safety.filter(far, DOWN)
    assert decision.interventions == (Intervention.STEP,)
    np.testing.assert_allclose(decision.command - DOWN, [0.06, -0.03, 0, 0, 0, -0.12], atol=1e-12)


def test_the_lead_is_kept(make):
    safety = make()
    for _ in range(5):
        decision = safety.filter(safety.command + by(0.06, 0, 0, 0, 0, 0), DOWN)
    assert decision.interventions == (Intervention.LEAD,)
    assert decision.command[0] == pytest.approx(0.17)


def test_an_arm_that_is_pushed_away_is_given_way_faster_than_a_step(make):
    safety = make()
    pushed = DOWN + by(0.4, 0, 0, 0, 0, 0)
    decision = safety.filter(DOWN, pushed)
    assert decision.interventions == (Intervention.LEAD,)
    assert decision.command[0] == pytest.approx(0.4 - 0.17)


def test_an_arm_pushed_to_the_table_is_not_followed_below_it(make, clearance):
    safety = make()
    pushed = DOWN.copy()
    while clearance(pushed).clearance > -0.02:
        pushed = pushed + by(0, 0.01, 0, 0.003, 0, 0)
        safety.filter(DOWN, pushed)
        assert clearance(safety.command).clearance >= safety.limits.floor


def test_the_lead_holds_while_an_encoder_that_jumped_sticks_below_the_floor(make, clearance):
    safety = make()
    jumped = DOWN + by(0, 0.5, 0.44, 0, 0, 0)
    assert clearance(jumped).clearance < -0.03
    safety.filter(DOWN, jumped)  # believed once it is confirmed
    lead = np.array(safety.limits.max_lead)
    for _ in range(54):
        command = safety.filter(DOWN, jumped).command
        assert (np.abs(command - jumped) <= lead + 1e-9).all()


def test_joints_stay_off_their_ends(make, joint_range):
    safety = make()
    for _ in range(40):
        decision = safety.filter(safety.command + by(0.06, 0, 0, 0, 0.06, 0.1), safety.command)
    assert Intervention.JOINT_LIMIT in decision.interventions
    upper = joint_range[:, 1]
    assert decision.command[0] <= upper[0] - 0.02
    assert decision.command[5] == upper[5]


def test_an_arm_found_beyond_a_joint_limit_may_stay_or_come_back_but_go_no_further(make):
    found = DOWN.copy()
    found[4] = 2.9  # its range ends at 2.84
    safety = make(found)
    assert safety.filter(found + by(0, 0, 0, 0, 0.05, 0), found).command[4] == 2.9
    assert safety.filter(found - by(0, 0, 0, 0, 0.03, 0), found).command[4] == pytest.approx(2.87)
    assert safety.filter(found, found).command[4] == pytest.approx(2.87)


def test_nothing_goes_below_the_floor(make, clearance):
    safety = make()
    low = touch_down(safety)
    height = clearance(low).clearance
    assert safety.limits.floor <= height < safety.limits.floor + 0.0005
    decision = safety.filter(low + by(0, 0.05, 0, 0, 0, 0), low)
    assert Intervention.FLOOR in decision.interventions


def test_on_the_floor_the_gripper_still_closes(make):
    safety = make()
    low = touch_down(safety)
    decision = safety.filter(low + by(0, 0.05, 0, 0, 0, -0.1), low)
    assert Intervention.FLOOR in decision.interventions
    np.testing.assert_allclose(decision.command - low, [0, 0, 0, 0, 0, -0.1], atol=2e-3)


def test_the_descent_is_slow_near_the_table_and_free_above(make, clearance):
    high, near = make(READY), make()
    while clearance(near.command).clearance > 0.02:
        near.filter(near.command + by(0, 0.02, 0, 0, 0, 0), near.command)
    for safety, is_free in ((high, True), (near, False)):
        before = safety.command
        wanted = before + by(0, 0.06, 0, 0.06, 0, 0)
        decision = safety.filter(wanted, before)
        drop = clearance(before).clearance - clearance(decision.command).clearance
        assert drop <= 0.005 + 0.25 * clearance(before).clearance
        assert (decision.interventions == ()) == is_free


def test_an_arm_found_below_the_floor_may_only_rise(make, clearance):
    safety = make(ON_TABLE)
    found = clearance(ON_TABLE).clearance
    assert found < -0.002
    down = safety.filter(ON_TABLE + by(0, 0, 0, 0.05, 0, 0), ON_TABLE)
    assert Intervention.FLOOR in down.interventions
    assert clearance(down.command).clearance >= found
    up = safety.filter(ON_TABLE - by(0, 0, 0, 0.05, 0, 0), ON_TABLE)
    assert up.interventions == ()
    assert clearance(up.command).clearance > found


def test_while_the_arm_hangs_low_its_command_may_only_rise(make, clearance):
    safety = make()
    low = touch_down(safety)
    raised = low - by(0, 0.03, 0, 0, 0, 0)
    safety.filter(raised, low)
    hanging = lower_by(safety, clearance(safety.command).clearance + 0.008)
    assert clearance(hanging).clearance < -0.005
    decision = safety.filter(safety.command + by(0, 0.01, 0, 0, 0, 0), hanging)
    assert Intervention.DESCENT in decision.interventions
    assert clearance(decision.command).clearance >= clearance(raised).clearance
    assert safety.filter(raised - by(0, 0.03, 0, 0, 0, 0), hanging).interventions == ()


def test_the_gripper_stays_in_the_workspace(make, clearance):
    safety = make()
    for _ in range(60):
        decision = safety.filter(safety.command + by(0, -0.03, -0.05, 0, 0, 0), safety.command)
    assert Intervention.WORKSPACE in decision.interventions
    tcp = clearance(decision.command).tcp
    assert (tcp >= safety.limits.workspace_low).all()
    assert (tcp <= safety.limits.workspace_high).all()


def test_a_command_cannot_be_reset_to_nan(make):
    with pytest.raises(ValueError, match="six finite numbers"):
        make(np.full(6, np.nan))


def test_decisions_do_not_share_memory_with_the_filter(make):
    safety = make()
    safety.filter(DOWN, DOWN).command[:] = 9
    np.testing.assert_array_equal(safety.command, DOWN)


# Guarantees

BELOW = 0.02  # m

angle = st.one_of(st.floats(-3, 3), st.floats(), st.sampled_from(SPECIAL))
target = st.one_of(st.lists(angle, min_size=6, max_size=6), st.lists(angle, max_size=8))


class Following:
    """A measured arm that goes part of the way to each command, or is shaken by hand."""

    def __init__(self, pose):
        self.pose = pose.copy()

    def move(self, command, share, shake):
        self.pose = self.pose + share * (command - self.pose) + shake
        return self.pose


@pytest.mark.parametrize(
    ("command", "pushed"),
    [
        ((0, 0.15, 0.25, 1.17, 1.571, 0.8), (0.125, 0.45, 0.55, 1.47, 1.571, 0.8)),
        ((-0.108, 0.311, 0.451, 1.566, 1.452, 1), (0.142, 0.611, 0.451, 1.566, 1.732, 0.999)),
        ((-0.08, 0.15, 0.25, 1.28, 1.571, 0.8), (-0.25, 0.275, 0.625, 1.45, 1.571, 0.8)),
        ((-0.034, 0.094, 0.408, 1.311, 1.652, 0.831), (0.005, 0.17, 0.779, 1.42, 1.496, 0.614)),
    ],
)
def test_an_arm_that_is_pushed_towards_the_table_is_told_to_rise(make, command, pushed):
    safety = make(command)
    assert safety.violation(pushed) > 0
    told = safety.filter(command, pushed).command
    assert safety.violation(told) == 0
    assert (np.abs(told - pushed) <= np.array(safety.limits.max_lead) + 1e-9).all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_every_command_keeps_every_limit(make, clearance, data):
    safety = make()
    limits, arm = safety.limits, Following(DOWN)
    lower, upper = safety.joint_range.T
    lead, step = np.array(limits.max_lead), np.array(limits.max_step)
    pushes = st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6)
    for _ in range(data.draw(st.integers(1, 12))):
        shake = np.array(data.draw(st.one_of(st.just([0.0] * 6), pushes)))
        measured = arm.move(safety.command, data.draw(st.floats(0, 1.2)), shake)
        before = safety.command.copy()
        command, notes = safety.filter(data.draw(target), measured)
        assert np.isfinite(command).all()
        assert (lower <= command).all()
        assert (command <= upper).all()
        if Intervention.JUMP in notes:
            np.testing.assert_array_equal(command, before)
            continue
        if (lower <= measured).all() and (measured <= upper).all():
            assert (np.abs(command - measured) <= lead + 1e-9).all()
        if safety.violation(measured) > BELOW:  # where `BodyWatch` has ended the work
            return
        posture = clearance(command)
        assert posture.clearance >= limits.floor - 1e-9
        assert safety.violation(command) == 0
        if (np.abs(before - measured) <= lead).all():
            assert (np.abs(command - before) <= step + 1e-9).all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1))
def test_wherever_the_arm_is_found_no_limit_is_violated_more_than_before(make, joint_range, seed):
    rng = np.random.default_rng(seed)
    safety = make(rng.uniform(*joint_range.T))
    for _ in range(10):
        before, command = safety.violation(safety.command), safety.command
        wanted = rng.uniform(*(2 * joint_range.T))
        decision = safety.filter(wanted, command + rng.uniform(-0.1, 0.1, 6))
        assert safety.violation(decision.command) <= before


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_the_scripted_pick_succeeds_and_is_never_interfered_with(make, joint_range, seed):
    body = Body(LiftConfig(stage=0))
    sim, control = body.sim, ControlConfig()
    body.begin(seed)
    safety = make(sim.joint_target[0])
    controller = make_controller(control, sim.kinematics, safety.joint_range, 1)
    controller.reset(safety.command[None])
    pick = TopDownPick(control, sim.kinematics, joint_range, 1)
    for tick in range(200):
        if tick % 2 == 0:
            action = pick.act(sim.joint_pos, sim.cube_pos, sim.cube_quat, controller.target)
        target = controller(action, sim.joint_pos)[0]
        decision = safety.filter(target, body.joint_pos)
        assert decision.interventions == ()
        body.advance(decision.command)
    assert body.succeeded


@pytest.mark.parametrize(("floor", "held"), [(None, True), (0.002, False)])
def test_a_policy_that_learnt_with_a_floor_presses_on_that_not_on_the_filters(make, floor, held):
    body = Body(LiftConfig(stage=0))
    sim, control = body.sim, ControlConfig(floor=floor)
    body.begin(5)
    safety = make(sim.joint_target[0])
    controller = make_controller(control, sim.kinematics, safety.joint_range, 1, safety.clearance)
    controller.reset(safety.command[None])
    reasons = set()
    for _ in range(300):
        target = controller(np.array([[0, 0.1, 0, 0, 0, 0]]), body.joint_pos[None])[0]
        decision = safety.filter(target, body.joint_pos)
        reasons |= set(decision.interventions)
        controller.target[0] = decision.command
        body.advance(decision.command)
    assert (Intervention.FLOOR in reasons) == held
    assert held or reasons == set()
    assert float(safety.clearance(safety.command).clearance) < 0.004  # it does press
