"""The native vector environment keeps gymnasium's contract and hides the cube from the policy."""

import io
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from robobase.envs import vector_compat
from robobase.errors import UserError
from so101_robobase.envs.single_env import TaskEnv
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.sim.gl_context import GLUnavailableError
from so101_robobase.sim.looks import VisualRandomization
from so101_robobase.sim.randomization import RandomizationConfig
from so101_robobase.tasks.lift.config import LiftConfig

RGB = pytest.param("rgb", marks=pytest.mark.opengl)
RGB_3 = pytest.param("rgb", 3, marks=pytest.mark.opengl)
VARIED = RandomizationConfig(visual=VisualRandomization(enabled=True))


@pytest.fixture
def make(request):
    envs = []

    def make(num_envs: int = 3, **settings: Any) -> TaskVectorEnv:
        keywords = {"action_sequence": settings.pop("action_sequence", None)}
        settings = {"observation": "state", "stage": 3, **settings}
        envs.append(TaskVectorEnv(LiftConfig(**settings), num_envs, **keywords))
        return envs[-1]

    yield make
    for env in envs:
        env.close()


def actions_for(env: TaskVectorEnv, steps: int) -> np.ndarray:
    shape = (steps, *(env.action_space.shape or ()))
    return np.random.default_rng(7).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("observation", "channels"), [("seg_depth", 2), ("seg", 1), RGB_3, ("state", None)]
)
def test_observations_lie_in_their_spaces(make, observation, channels):
    env = make(observation=observation, episode_length=4, hold_steps=2)
    observations, _ = env.reset(seed=0)
    assert observations in env.observation_space
    for action in actions_for(env, 3):
        observations, _, _, _, infos = env.step(action)
        assert observations in env.observation_space
        final = vector_compat.final_obs(infos, 0)
        assert final is None or final in env.single_observation_space
    numbers = 21 if observation == "state" else 18
    assert observations["low_dim_state"].shape == (3, numbers)
    if channels:
        assert observations["rgb"].shape == (3, channels, 84, 84)
    assert ("rgb" in observations) == bool(channels)


def test_spaces_and_metadata_are_those_of_a_vector_environment(make):
    env = make(4)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert env.metadata["render_fps"] == 25
    assert env.action_space == gym.vector.utils.batch_space(env.single_action_space, 4)
    assert env.observation_space == gym.vector.utils.batch_space(env.single_observation_space, 4)
    observations, rewards, terminated, truncated, _ = (
        env.reset(),
        env.step(actions_for(env, 1)[0]),
    )[1]
    assert observations["low_dim_state"].dtype == np.float32
    assert (rewards.dtype, terminated.dtype, truncated.dtype) == (np.float64, bool, bool)
    assert rewards.shape == terminated.shape == truncated.shape == (4,)


def test_a_member_is_a_single_environment_of_its_seed_through_resets(make):
    env = make(3, stage={0: 1, 3: 1, 1: 1}, episode_length=12, hold_steps=4)
    single = TaskEnv(env.config)
    observations, infos = env.reset(seed=[11, 5, 8])
    expected, info = single.reset(seed=5)
    for action in actions_for(env, 20):
        np.testing.assert_array_equal(observations["low_dim_state"][1], expected)
        for key in info:
            assert infos[key][1] == info[key], key
        observations, rewards, terminated, truncated, infos = env.step(action)
        expected, reward, ended, cut, info = single.step(action[1])
        assert (rewards[1], terminated[1], truncated[1]) == (reward, ended, cut)
        if ended or cut:
            final = vector_compat.final_obs(infos, 1)
            np.testing.assert_array_equal(final["low_dim_state"], expected)
            last = vector_compat.final_info(infos, 1)
            assert all(last[key] == value for key, value in info.items())
            np.testing.assert_array_equal(last["qpos"], single.task.sim.qpos[0])
            expected, info = single.reset()
    single.close()


def test_final_observations_come_only_with_the_end_of_an_episode(make):
    env = make(2, stage=1, episode_length=40, hold_steps=8, on_success="bootstrap")
    env.reset(seed=0)
    drop = np.zeros((2, 6), np.float32)
    drop[1, 5] = 1
    for _ in range(3):
        *_, truncated, infos = env.step(drop)
        assert "final_obs" not in infos
    *_, truncated, infos = env.step(drop)
    assert truncated.tolist() == infos["_final_obs"].tolist() == [True, False]
    assert infos["final_info"]["task_success"].tolist() == [1, 0]
    assert infos["task_success"].tolist() == [0, 0]
    assert infos["hold_count"].tolist() == [0, 0]
    assert vector_compat.final_obs(infos, 1) is None


def test_an_int_seeds_the_members_one_after_the_other_and_none_goes_on(make):
    one, other = make(3), make(3)
    first, _ = one.reset(seed=4)
    listed, _ = other.reset(seed=[4, 5, 6])
    np.testing.assert_array_equal(first["low_dim_state"], listed["low_dim_state"])
    second, _ = one.reset()
    assert (second["low_dim_state"] != first["low_dim_state"]).any()
    again, _ = one.reset(seed=4)
    np.testing.assert_array_equal(again["low_dim_state"], first["low_dim_state"])


@pytest.mark.parametrize("observation", ["seg_depth", "seg", RGB])
def test_moving_the_cube_changes_no_bit_of_low_dim_state(make, observation):
    env = make(4, observation=observation)
    before, _ = env.reset(seed=0)
    env.task.sim.cube_pos[:] += [0.01, -0.02, 0.05]
    env.task.sim.engine.batch.forward()
    after = env._observer.observe()
    assert after["low_dim_state"].tobytes() == before["low_dim_state"].tobytes()
    assert (after["rgb"] != before["rgb"]).any()


def test_the_state_observation_is_low_dim_state_and_the_cube(make):
    seen, state = make(observation="seg"), make(observation="state")
    low_dim = seen.reset(seed=0)[0]["low_dim_state"]
    full = state.reset(seed=0)[0]["low_dim_state"]
    np.testing.assert_array_equal(full[:, :18], low_dim)
    np.testing.assert_array_equal(full[:, 18:], state.task.sim.cube_pos.astype(np.float32))


def test_a_saved_environment_continues_bit_for_bit_in_another_process_image(make):
    settings = {"stage": {0: 1, 1: 1, 3: 1}, "episode_length": 12, "observation": "seg_depth"}
    env, other = make(**settings), make(**settings)
    env.reset(seed=3)
    actions = actions_for(env, 10)
    env.step(actions[0])
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for action in actions:
        expected, got = env.step(action), other.step(action)
        for key in expected[0]:
            np.testing.assert_array_equal(expected[0][key], got[0][key])
        np.testing.assert_array_equal(expected[1], got[1])
        assert expected[4].keys() == got[4].keys()


def test_a_sequence_of_actions_is_played_within_one_step(make):
    chunked, plain = make(action_sequence=3, episode_length=16), make(episode_length=16)
    assert chunked.single_action_space.shape == (3, 6)
    chunked.reset(seed=0)
    plain.reset(seed=0)
    actions = actions_for(chunked, 3)
    observations, reward, *_ = chunked.step(actions[0])
    expected = [plain.step(actions[0][:, k]) for k in range(3)]
    np.testing.assert_array_equal(observations["low_dim_state"], expected[-1][0]["low_dim_state"])
    np.testing.assert_allclose(reward, sum(step[1] for step in expected))
    chunked.step(actions[1])
    *_, truncated, _ = chunked.step(actions[2])  # the time limit of 8 policy steps cuts the third
    assert truncated.all()


def test_returned_observations_belong_to_the_caller(make):
    env = make()
    observations, _ = env.reset(seed=0)
    kept = observations["low_dim_state"].copy()
    env.step(actions_for(env, 1)[0])
    np.testing.assert_array_equal(observations["low_dim_state"], kept)


@pytest.mark.opengl
def test_render_shows_the_first_member(make):
    env = make(observation="seg_depth")
    assert env.render() is None
    env.reset(seed=0)
    (frame,) = env.render()
    assert frame.shape == (256, 4 * 256, 3)  # scene, wrist, ids, disparity
    assert frame.dtype == np.uint8
    assert frame.std() > 10


def test_without_opengl_render_shows_the_observation_beside_a_black_scene(make, monkeypatch):
    def views(*args, **kwargs):
        raise GLUnavailableError("missing")

    monkeypatch.setattr("so101_robobase.sim.spectator.Views", views)
    env = make(observation="seg_depth", renderer="ray")
    env.reset(seed=0)
    (frame,) = env.render()
    assert frame.shape == (256, 3 * 256, 3)  # scene, ids, disparity
    assert not frame[:, :256].any()
    assert frame[:, 256:].std() > 10


@pytest.mark.opengl
def test_render_shows_the_look_of_the_episode(make):
    def frame(seed):
        env.reset(seed=seed)
        return env.render()[0].astype(int)

    env = make(observation="seg_depth", randomization=VARIED)
    first, second = frame(1), frame(2)
    for tile in (slice(0, 256), slice(256, 512)):
        assert np.abs(first[:, tile] - second[:, tile]).mean() > 10


def test_mistakes_are_named(make):
    with pytest.raises(UserError, match="num_envs=0 must be at least 1"):
        make(0)
    env = make()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(actions_for(env, 1)[0])
    with pytest.raises(UserError, match="2 seeds for 3 environments"):
        env.reset(seed=[1, 2])
    env.reset()
    with pytest.raises(UserError, match=r"actions have shape \(3, 4\), not \(3, 6\)"):
        env.step(np.zeros((3, 4)))


def test_the_teacher_answers_every_observation_and_its_answers_lift_the_cube():
    env = TaskVectorEnv(observation="state", teacher=True, num_envs=3, episode_length=120)
    _, infos = env.reset(seed=0)
    successes = 0
    for _ in range(60):
        assert infos["teacher_action"].shape == (3, 6)
        *_, infos = env.step(infos["teacher_action"])
        successes += (infos.get("final_info", {}).get("task_success", np.zeros(3)) > 0).sum()
    assert successes >= 3
    env.close()


def test_the_teacher_is_part_of_what_is_saved():
    env, other = (
        TaskVectorEnv(observation="state", teacher=True, num_envs=2, stage=4) for _ in range(2)
    )
    _, infos = env.reset(seed=3)
    for _ in range(15):
        *_, infos = env.step(infos["teacher_action"])
    other.reset(seed=9)
    other.load_state_dict(env.state_dict())
    for _ in range(10):
        action = infos["teacher_action"]
        *_, infos = env.step(action)
        *_, others = other.step(action)
        np.testing.assert_array_equal(infos["teacher_action"], others["teacher_action"])
    env.close()
    other.close()


def test_a_teacher_shows_one_action_at_a_time():
    with pytest.raises(UserError, match=r"action_sequence=4 with env\.teacher=true"):
        TaskVectorEnv(observation="state", teacher=True, action_sequence=4)
