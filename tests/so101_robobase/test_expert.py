"""The scripted pick succeeds through the public action interface, on every arm by itself."""

import numpy as np
import pytest

from so101_robobase.arm.control import ControlConfig
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.pick import Phase
from so101_robobase.tasks.lift.task import LiftTask
from so101_robobase.tasks.lift.teacher import LiftTeacher


def play(num_envs, seed=0, mode="joint_delta", **settings):
    """One episode per arm; returns the task after it and all actions (T, N, A)."""
    config = LiftConfig(
        observation="state", on_success="continue", control=ControlConfig(mode=mode), **settings
    )
    task = LiftTask(config, num_envs)
    task.seed(list(range(seed, seed + num_envs)))
    task.reset(np.arange(num_envs))
    expert = make_expert(task)
    actions = []
    while not task.truncated.all():
        actions.append(
            expert.act(
                task.sim.joint_pos,
                task.sim.cube_pos,
                task.sim.cube_quat,
                task.sim.controller.target,
            )
        )
        task.step(actions[-1])
    return task, np.array(actions)


def make_expert(task):
    return LiftTeacher(task).pick


@pytest.mark.parametrize("stage", [0, 3, 4])
def test_joint_deltas_lift_the_cube_and_hold_it_to_the_end(stage):
    task, actions = play(4, stage=stage)
    assert task.succeeded.all()
    assert task.lifted.all()
    assert actions.shape[2] == 6
    assert np.abs(actions).max() <= 1


def test_cartesian_deltas_lift_the_cube():
    task, actions = play(4, stage=3, mode="cartesian_delta")
    assert task.succeeded.all()
    assert actions.shape[2] == 4
    assert np.abs(actions).max() <= 1


def test_it_works_without_action_repeat():
    assert play(4, stage=4, action_repeat=1)[0].succeeded.all()


def test_an_arm_acts_alike_alone_and_among_others():
    _, together = play(4, stage=4, episode_length=80)
    _, alone = play(1, seed=2, stage=4, episode_length=80)
    np.testing.assert_array_equal(alone[:, 0], together[:, 2])


def test_it_starts_over_when_the_cube_is_taken_away_and_reset_touches_only_the_arms_named():
    task, _ = play(2, stage=3, episode_length=40)
    expert = make_expert(task)
    expert.phase[:] = Phase.LIFT
    cube = task.sim.cube_pos.copy()
    cube[1] += 0.1
    expert.act(task.sim.joint_pos, cube, task.sim.cube_quat, task.sim.controller.target)
    assert expert.phase.tolist() == [Phase.LIFT, Phase.ABOVE]
    expert.phase[:] = Phase.LIFT
    expert.reset(np.array([0]))
    assert expert.phase.tolist() == [Phase.ABOVE, Phase.LIFT]


def test_whoever_grasped_the_cube_the_pick_lifts_it():
    task = LiftTask(LiftConfig(observation="state", stage=2, on_success="continue"), 2)
    task.seed([0, 1])
    task.reset(np.arange(2))
    expert = make_expert(task)
    state = (task.sim.joint_pos, task.sim.cube_pos, task.sim.cube_quat, task.sim.controller.target)
    expert.act(*state)
    assert expert.phase.tolist() == [Phase.ABOVE, Phase.ABOVE]
    for _ in range(40):
        task.step(expert.act(*state, holding=task.grasping))
    assert task.lifted.all()


def test_it_goes_on_from_where_it_was_saved():
    task, _ = play(2, stage=3, episode_length=40)
    state = (task.sim.joint_pos, task.sim.cube_pos, task.sim.cube_quat, task.sim.controller.target)
    expert, other = make_expert(task), make_expert(task)
    expert.phase[:] = Phase.LIFT
    other.load_state_dict(expert.state_dict())
    np.testing.assert_array_equal(expert.act(*state), other.act(*state))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "stage", "at_least"),
    [
        ("joint_delta", 0, 98),
        ("joint_delta", 3, 98),
        ("joint_delta", 4, 98),
        ("cartesian_delta", 3, 95),
        ("cartesian_delta", 4, 95),
    ],
)
def test_success_over_a_hundred_seeds(mode, stage, at_least):
    task, _ = play(100, mode=mode, stage=stage)
    assert task.succeeded.sum() >= at_least


@pytest.mark.slow
def test_a_shaky_arm_grasps_all_the_same():
    """What a learner does with the pick's answers is never exactly what it said."""
    config = LiftConfig(observation="state", stage=0, on_success="continue")
    task = LiftTask(config, 64)
    task.seed(list(range(64)))
    task.reset(np.arange(64))
    teacher = LiftTeacher(task)
    generator = np.random.default_rng(0)
    while not task.truncated.all():
        action = teacher.act() + 0.3 * generator.normal(size=(64, 6))
        task.step(np.clip(action, -1, 1))
    assert task.succeeded.mean() >= 0.75
