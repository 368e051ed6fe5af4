"""The task on a batch: reproducible to the bit, members independent, success and its effects."""

import dataclasses
from typing import Any

import mujoco
import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.clearance import Clearance
from so101_robobase.arm.control import ControlConfig
from so101_robobase.sim.threads import usable_threads
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.rewards import Reward
from so101_robobase.tasks.lift.task import LiftTask

MIXTURE = {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0}
CLOSE = np.array([0, 0, 0, 0, 0, -1.0])
OPEN = -CLOSE
UP = np.array([0, -0.5, 0.2, 0, 0, 0])


def started(num_envs: int = 1, threads: int | None = None, **settings: Any) -> LiftTask:
    task = LiftTask(LiftConfig(**settings), num_envs, threads)
    task.seed(range(num_envs))
    task.reset(np.arange(num_envs))
    return task


def record(
    num_envs: int, threads: int, control: str = "joint_delta", steps: int = 20
) -> np.ndarray:
    """(steps, num_envs, k): all that 20 random policy steps of several episodes produce."""
    from so101_robobase.arm.control import ControlConfig

    config = LiftConfig(stage=MIXTURE, episode_length=16, control=ControlConfig(mode=control))
    task = LiftTask(config, num_envs, threads)
    task.seed(range(num_envs))
    task.reset(np.arange(num_envs))
    rngs = [np.random.default_rng(100 + i) for i in range(num_envs)]
    rows = []
    for _ in range(steps):
        action = np.stack([rng.uniform(-1, 1, task.action_dim) for rng in rngs])
        result = task.step(action)
        done = result.terminated | result.truncated
        rows.append(np.column_stack([task.sim.engine.state, result.reward, done, task.hold_count]))
        task.reset(np.flatnonzero(done))
    return np.array(rows)


@pytest.mark.parametrize("control", ["joint_delta", "cartesian_delta"])
def test_an_episode_is_the_same_bit_for_bit_alone_in_a_batch_and_on_any_number_of_threads(control):
    sixteen = record(16, 2, control)
    np.testing.assert_array_equal(sixteen, record(16, 1, control))
    np.testing.assert_array_equal(sixteen[:, :5], record(5, 3, control))
    np.testing.assert_array_equal(sixteen[:, :1], record(1, 1, control))


def test_a_reset_changes_nothing_of_the_other_members():
    task = started(6, stage=MIXTURE)
    rng = np.random.default_rng(0)
    for _ in range(3):
        task.step(rng.uniform(-1, 1, (6, 6)))
    before = task.state_dict()
    sensors = task.sim.engine.batch.bind("sensordata").copy()
    task.reset(np.array([1, 4]))
    after = task.state_dict()
    others = [0, 2, 3, 5]
    for name, value in before.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(after[name][others], value[others], err_msg=name)
            assert len(value) == 6
    np.testing.assert_array_equal(
        after["controller"]["target"][others], before["controller"]["target"][others]
    )
    np.testing.assert_array_equal(task.sim.engine.batch.bind("sensordata")[others], sensors[others])
    assert [after["rngs"][i] == before["rngs"][i] for i in range(6)] == [
        i in others for i in range(6)
    ]
    assert (after["simulation"][[1, 4]] != before["simulation"][[1, 4]]).any()


def test_positions_and_contacts_describe_the_state_after_the_step():
    task = started(stage=2)
    for _ in range(3):
        task.step(UP[None])
    data = mujoco.MjData(task.sim.scene.model)
    data.qpos = task.sim.qpos[0]
    mujoco.mj_forward(task.sim.scene.model, data)
    np.testing.assert_array_equal(task.sim.tcp_pos[0], data.site("gripperframe").xpos)
    np.testing.assert_array_equal(task.sim.engine.batch.bind("sensordata")[0], data.sensordata)


def test_action_repeat_holds_the_action_and_sums_the_rewards():
    twice, once = started(stage=3, action_repeat=2), started(stage=3, action_repeat=1)
    action = np.array([[0.5, -0.3, 0.2, 0.1, -0.4, -1.0]])
    for _ in range(4):
        result = twice.step(action)
        rewards = [once.step(action).reward for _ in range(2)]
        np.testing.assert_array_equal(twice.sim.qpos, once.sim.qpos)
        np.testing.assert_array_equal(result.reward, rewards[0] + rewards[1])
        assert result.control_steps == 2
    assert twice.episode_steps == once.episode_steps == 8


@pytest.mark.parametrize("hold_steps", [10, 150])
def test_success_needs_hold_steps_consecutive_control_steps(hold_steps):
    task = started(stage=1, hold_steps=hold_steps, action_repeat=1, on_success="terminate")
    for k in range(hold_steps):
        assert not task.succeeded[0]
        assert task.hold_count == k
        result = task.step(np.zeros((1, 6)))
    assert task.succeeded[0]
    assert result.terminated[0]


def test_success_within_a_repeated_action_ends_the_episode_there():
    task = started(stage=1, hold_steps=3, action_repeat=2)
    task.step(np.zeros((1, 6)))
    result = task.step(np.zeros((1, 6)))
    assert result.control_steps == 1
    assert task.episode_steps == 3


def test_opening_the_jaw_drops_the_cube_and_starts_the_count_again():
    task = started(stage=1, hold_steps=100, action_repeat=1)
    for _ in range(4):
        task.step(np.zeros((1, 6)))
    assert task.hold_count == 4
    for _ in range(8):
        task.step(OPEN[None])
    assert not task.grasping[0]
    assert task.hold_count == 0
    assert task.info()["max_cube_z"][0] > 0.08


def test_touching_pads_are_no_grasp_while_the_jaw_is_open():
    task = started(stage=3)
    for _ in range(10):
        task.step(CLOSE[None])
    assert task.sim.joint_pos[0, -1] < 0.25
    assert not task.grasping[0]  # closed above the cube: nothing between the pads


@pytest.mark.parametrize(
    ("mode", "terminated", "truncated"),
    [("bootstrap", False, True), ("terminate", True, False), ("bonus", True, False)],
)
def test_success_ends_the_episode_as_the_mode_says(mode, terminated, truncated):
    task = started(stage=1, hold_steps=2, on_success=mode)
    result = task.step(np.zeros((1, 6)))
    assert (result.terminated[0], result.truncated[0]) == (terminated, truncated)
    assert task.info()["task_success"][0] == 1


def test_in_mode_continue_only_the_time_limit_ends_the_episode():
    task = started(stage=1, hold_steps=2, on_success="continue", episode_length=20)
    rewards = []
    for _ in range(10):
        result = task.step(np.zeros((1, 6)))
        rewards.append(result.reward[0])
    assert result.truncated[0]
    assert not result.terminated[0]
    assert task.episode_steps == 20
    np.testing.assert_allclose(rewards[1:], rewards[1], rtol=0.01)  # the hold term does not grow


def test_the_bonus_is_what_holding_on_for_ever_would_have_paid():
    settings: dict[str, Any] = {"stage": 1, "reward_version": "v19", "discount": 0.9}
    ended = started(**settings, on_success="bonus")
    for _ in range(5):
        final = ended.step(np.zeros((1, 6))).reward[0]
    assert ended.terminated[0]
    held = started(**settings, on_success="continue")
    rewards = np.array([held.step(np.zeros((1, 6))).reward[0] for _ in range(100)])
    rewards[5:] -= 2 * 10  # holding on does not pay the success bonus again
    np.testing.assert_allclose(final, rewards[4:] @ 0.9 ** np.arange(96), rtol=0.01)


def test_an_ended_member_waits_unchanged_until_it_is_reset():
    task = started(2, stage=1, hold_steps=6, on_success="bootstrap")
    for _ in range(3):
        task.step(np.array([np.zeros(6), OPEN]))  # member 0 succeeds, member 1 drops the cube
    assert task.truncated.tolist() == [True, False]
    before = task.sim.engine.state[0].copy()
    result = task.step(np.ones((2, 6)))
    np.testing.assert_array_equal(task.sim.engine.state[0], before)
    assert result.reward[0] == 0
    assert result.control_steps.tolist() == [0, 2]


def test_the_reward_of_a_step_is_the_versions_formula_of_its_signals():
    task = started(stage=2, reward_version="v11", action_repeat=1)
    reward = task.step(UP[None]).reward[0]
    distance = np.linalg.norm(task.sim.cube_pos[0] - task.sim.tcp_pos[0])
    z = task.sim.cube_pos[0, 2]
    assert task.grasping[0]
    expected = 1 - np.tanh(10 * distance) + 0.25 + 2 * (z - 0.015) / 0.065
    assert z < 0.02
    np.testing.assert_allclose(reward, expected, rtol=1e-12)


def test_the_first_action_of_an_episode_is_no_change_of_action(monkeypatch):
    changes = []
    original = Reward.__call__
    monkeypatch.setattr(
        Reward,
        "__call__",
        lambda self, s: (changes.append(s.action_change_sq[0]), original(self, s))[1],
    )
    task = started(stage=3, action_repeat=2)
    task.step(np.full((1, 6), 0.5))
    task.step(np.full((1, 6), -0.5))
    assert changes == [0, 0, 6, 0]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros((2, 4)), r"actions have shape \(2, 4\), not \(2, 6\)"),
        (np.full((2, 6), np.nan), "actions hold nan or inf"),
    ],
)
def test_an_action_that_cannot_be_played_is_refused_and_changes_nothing(action, message):
    task = started(2, stage=3)
    before = task.sim.engine.state.copy()
    with pytest.raises(UserError, match=message):
        task.step(action)
    np.testing.assert_array_equal(task.sim.engine.state, before)


def test_infos_hold_the_jaw_and_the_control_steps_of_the_episode():
    task = started(stage=3, episode_length=5, hold_steps=5, action_repeat=2)
    for _ in range(3):
        task.step(CLOSE[None])
    assert task.info()["jaw_angle"][0] == task.sim.qpos[0, 5]
    assert task.info()["episode_steps"][0] == 5  # the time limit cuts the last action short


def test_an_unstable_simulation_ends_its_episode_and_no_other(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warning to a file
    task = started(2, stage=3)
    task.sim.qvel[0, 6] = 1e12
    result = task.step(np.zeros((2, 6)))
    assert result.terminated.tolist() == [True, False]
    assert not result.truncated.any()


def test_a_loaded_state_continues_bit_for_bit():
    rng = np.random.default_rng(1)
    actions = rng.uniform(-1, 1, (12, 3, 6))
    task = started(3, stage=MIXTURE, episode_length=10)
    task.step(actions[0])
    saved = task.state_dict()
    other = LiftTask(task.config, 3, 1)
    other.load_state_dict(saved)
    for action in actions:
        results = [t.step(action) for t in (task, other)]
        np.testing.assert_array_equal(task.sim.engine.state, other.sim.engine.state)
        for field in dataclasses.fields(results[0]):
            values = [getattr(result, field.name) for result in results]
            np.testing.assert_array_equal(*values)
        for t in (task, other):
            t.reset(np.flatnonzero(results[0].truncated | results[0].terminated))


def test_threads_are_the_cores_unless_openmp_is_told_fewer(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert usable_threads() >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert usable_threads() == 1


def test_a_floor_holds_for_every_target_of_the_task():
    task = started(num_envs=2, stage=0, control=ControlConfig(floor=0.01))
    clearance = Clearance(task.sim.scene.model)
    for _ in range(60):
        task.step(np.tile([0.0, 1, 0, 0, 0, 0], (2, 1)))
        assert (clearance(task.sim.controller.target).clearance >= 0.01).all()
    assert (clearance(task.sim.controller.target).clearance < 0.012).all()
