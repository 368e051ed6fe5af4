"""Start states: each stage is what its name says, and drawing is fair and repeatable."""

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.sim.scene import SceneConfig
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask
from so101_robobase.tasks.starts import BANK_SIZE, Starts, bank


def starts_of(**settings: object) -> Starts:
    return LiftTask(LiftConfig(**settings), 1).starts


def started(stage: int, num_envs: int = 32) -> LiftTask:
    task = LiftTask(LiftConfig(stage=stage), num_envs)
    task.seed(range(num_envs))
    task.reset(np.arange(num_envs))
    return task


def test_stage_0_puts_the_cube_anywhere_in_the_box_under_a_ready_gripper():
    task = started(0, 64)
    box = task.config.cube_box
    x, y, z = task.sim.cube_pos.T
    assert (x >= box.x[0]).all()
    assert (x <= box.x[1]).all()
    assert (np.abs(y) <= box.y[1]).all()
    assert np.ptp(x) > 0.14
    assert np.ptp(y) > 0.16
    np.testing.assert_allclose(z, 0.015, atol=1e-4)
    assert ((task.sim.tcp_pos[:, 2] > 0.149) & (task.sim.tcp_pos[:, 2] < 0.201)).all()
    yaw = 2 * np.arctan2(task.sim.cube_quat[:, 3], task.sim.cube_quat[:, 0])
    assert np.ptp(yaw) > 4


def test_stage_1_holds_the_cube_above_the_lift_height():
    task = started(1)
    assert task.grasping.all()
    assert task.lifted.all()
    assert (task.sim.cube_pos[:, 2] < task.config.lift_height + 0.01).all()


def test_stage_2_holds_the_cube_on_the_table():
    task = started(2)
    assert task.grasping.all()
    np.testing.assert_allclose(task.sim.cube_pos[:, 2], 0.015, atol=0.002)


def test_stage_3_opens_the_gripper_35_mm_above_the_cube():
    task = started(3)
    assert not task.grasping.any()
    np.testing.assert_allclose(task.sim.tcp_pos[:, 2] - task.sim.cube_pos[:, 2], 0.035, atol=0.002)
    assert (np.abs(task.sim.tcp_pos - task.sim.cube_pos)[:, :2] < 0.018).all()
    assert (task.sim.joint_pos[:, -1] > 1).all()


def test_stage_4_starts_8_to_12_cm_away():
    task = started(4)
    distance = np.linalg.norm((task.sim.tcp_pos - task.sim.cube_pos)[:, :2], axis=1)
    assert ((distance > 0.078) & (distance < 0.122)).all()
    assert (task.sim.tcp_pos[:, 2] > task.config.lift_height).all()


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_the_cube_varies_by_2_cm_around_its_place(stage):
    offset = started(stage).sim.cube_pos[:, :2] - [0.25, 0]
    assert (np.abs(offset) < 0.031).all()  # a closing jaw moves the cube by some millimetres
    assert (np.ptp(offset, axis=0) > 0.025).all()


@pytest.mark.parametrize("stage", range(5))
def test_a_start_state_is_at_rest_and_stays_so_without_action(stage):
    task = started(stage, 8)
    before = task.sim.qpos.copy()
    assert np.abs(task.sim.qvel).max() < 0.2
    for _ in range(5):
        task.step(np.zeros((8, 6)))
    assert np.abs(task.sim.qpos - before).max() < 0.01
    assert task.grasping.all() == (stage in (1, 2))


def test_a_bank_is_made_once_and_cannot_be_changed():
    states, _ = made = bank(SceneConfig(), 3, 0.02, 0.08)
    assert bank(SceneConfig(), 3, 0.02, 0.08) is made
    assert len(np.unique(states[:, 1:7], axis=0)) == BANK_SIZE
    with pytest.raises(ValueError, match="read-only"):
        states[0, 0] = 1
    again, _ = bank.__wrapped__(SceneConfig(), 3, 0.02, 0.08)
    np.testing.assert_array_equal(again, states)


def test_a_mixture_draws_stages_by_their_weights():
    starts = starts_of(stage={3: 0.25, 4: 0.75})
    rng = np.random.default_rng(0)
    stages = [starts.draw(rng)[0] for _ in range(2000)]
    assert set(stages) == {3, 4}
    assert 0.71 < np.mean(np.equal(stages, 4)) < 0.79


def _starts(stage: int, seeds: range, **settings: object) -> set[bytes]:
    config = LiftConfig(stage=stage, observation="state", **settings)
    task = LiftTask(config, len(seeds))
    task.seed(seeds)
    task.reset(np.arange(len(seeds)))
    return {row.tobytes() for row in task.sim.qpos}


def _drawn(stage: int, count: int = 600, **settings: object) -> set[bytes]:
    starts = starts_of(stage=stage, **settings)
    rng = np.random.default_rng(0)
    return {starts.draw(rng).state[1:7].tobytes() for _ in range(count)}  # the arm


@pytest.mark.parametrize(
    ("stage", "count"),
    [(0, 70), (2, 70), (3, 70), (4, 70), pytest.param(3, 1000, marks=pytest.mark.slow)],
)
def test_evaluations_begin_in_states_of_their_own_that_no_training_uses(stage, count):
    drawn = starts_of(stage=stage, starts="evaluation")
    seeds = range(1_000_000, 1_000_000 + count)
    starts = [drawn.draw(np.random.default_rng(seed), seed).state for seed in seeds]
    assert len({state[1:].tobytes() for state in starts}) == len(seeds)
    arms = {state[1:7].tobytes() for state in starts}
    assert len(arms) == len(seeds)
    assert not arms & _drawn(stage)
    others = {
        drawn.draw(np.random.default_rng(seed), seed).state[1:7].tobytes()
        for seed in range(2_000_000, 2_000_060)
    }
    assert not arms & others


def test_runs_of_different_seeds_train_from_different_states():
    assert not _drawn(3, start_seed=1) & _drawn(3, start_seed=2)
    assert len(_drawn(3, start_seed=1)) > 200


@pytest.mark.parametrize("starts", ["training", "demonstrations", "evaluation"])
def test_equal_seeds_give_equal_starts_in_each_kind_and_others_in_another(starts):
    here = _starts(4, range(3, 9), starts=starts)
    assert here == _starts(4, range(3, 9), starts=starts)
    others = {"training", "demonstrations", "evaluation"} - {starts}
    assert all(not here & _starts(4, range(3, 9), starts=other) for other in others)


def test_a_start_out_of_reach_is_a_mistake_of_the_user():
    with pytest.raises(UserError, match="stage=4 starts where this arm cannot reach"):
        bank(SceneConfig(), 4, 0.02, 0.6)
