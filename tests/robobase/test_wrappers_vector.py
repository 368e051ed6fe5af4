"""Wrapping a vector environment does to each sub-environment what wrapping that one would do."""

import copy
import io

import gymnasium as gym
import numpy as np
import pytest
import torch
from wrapper_envs import CountingEnv, NativeCountingEnv, sync_counting_envs

from robobase.envs.vector_compat import final_obs
from robobase.envs.wrappers import (
    ActionSequence,
    AppendDemoInfo,
    ClipReward,
    ConcatDim,
    FrameStack,
    OnehotTime,
    RecedingHorizonControl,
    RescaleFromTanh,
    RescaleFromTanhEEPose,
    RescaleFromTanhWithMinMax,
    RescaleFromTanhWithStandardization,
    ScaleReward,
    ShapeRewards,
    TransposeImageCHW,
)
from robobase.errors import UserError

STATS = {
    "mean": np.full(2, 0.5),
    "std": np.full(2, 0.1),
    "min": np.full(2, -0.6),
    "max": np.full(2, 0.4),
}
WRAPPERS = {
    "frame_stack": lambda env: FrameStack(env, 3),
    "append_demo_info": AppendDemoInfo,
    "concat_dim": lambda env: ConcatDim(env, 1, 0, "low_dim_state"),
    "concat_dim_images": lambda env: ConcatDim(env, 3, 0, "wide", keys_to_ignore=["state"]),
    "onehot_time": lambda env: OnehotTime(env, 100),
    "rescale": RescaleFromTanh,
    "rescale_standard": lambda env: RescaleFromTanhWithStandardization(env, STATS),
    "rescale_min_max": lambda env: RescaleFromTanhWithMinMax(env, STATS, 0.2),
    "scale_reward": lambda env: ScaleReward(env, 0.25),
    "clip_reward": lambda env: ClipReward(env, -1.0, 1.0),
    "shape_rewards": lambda env: ShapeRewards(env, lambda reward: -reward),
    "transpose": TransposeImageCHW,
    "all": lambda env: FrameStack(OnehotTime(TransposeImageCHW(RescaleFromTanh(env)), 100), 3),
}
VECTOR_ENVS = {"native": NativeCountingEnv, "sync": sync_counting_envs}


@pytest.mark.parametrize("vector_env", VECTOR_ENVS)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_vector_wrapper_equals_single_wrapper_on_each_environment(wrapper, vector_env):
    lengths = (2, 3, 100)
    wrap = WRAPPERS[wrapper]
    envs = wrap(VECTOR_ENVS[vector_env](lengths))
    singles = [wrap(CountingEnv(length)) for length in lengths]
    assert envs.single_observation_space == singles[0].observation_space
    assert envs.single_action_space == singles[0].action_space

    observations, infos = envs.reset(seed=0)
    assert envs.observation_space.contains(observations)
    for i, env in enumerate(singles):
        _assert_same(observations, env.reset()[0], i)
    rng = np.random.default_rng(0)
    for _ in range(7):
        actions = rng.uniform(-1, 1, envs.action_space.shape).astype(np.float32)
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        assert envs.observation_space.contains(observations)
        for i, env in enumerate(singles):
            obs, reward, term, trunc, info = env.step(actions[i])
            assert rewards[i] == reward
            assert terminated[i] == term
            assert truncated[i] == trunc
            assert ("demo" in info) == ("demo" in infos)
            if term or trunc:
                final = final_obs(infos, i)
                assert final.keys() == obs.keys()
                for name in obs:
                    np.testing.assert_array_equal(final[name], obs[name])
                obs, _ = env.reset()
            else:
                assert final_obs(infos, i) is None
            _assert_same(observations, obs, i)
    if vector_env == "native":
        for i, env in enumerate(singles):
            np.testing.assert_array_equal(envs.unwrapped.last_actions[i], env.unwrapped.actions[-1])


def _assert_same(batched, single, i):
    assert batched.keys() == single.keys()
    for name in single:
        assert batched[name].dtype == single[name].dtype
        np.testing.assert_array_equal(batched[name][i], single[name])


def test_wrapping_a_vector_environment_gives_a_vector_environment():
    envs = FrameStack(NativeCountingEnv(), 3)
    assert isinstance(envs, gym.vector.VectorEnv)
    assert isinstance(envs, FrameStack)
    assert not isinstance(envs, gym.Env)
    assert not isinstance(envs, OnehotTime)
    assert envs.is_vector_env
    assert isinstance(RescaleFromTanhEEPose(_pose_envs()), RescaleFromTanh)
    single = FrameStack(CountingEnv(), 3)
    assert isinstance(single, gym.Env)
    assert not isinstance(single, gym.vector.VectorEnv)
    assert not single.is_vector_env


def _pose_envs():
    envs = NativeCountingEnv()
    envs.single_action_space = gym.spaces.Box(-1.0, 1.0, (8,), np.float32)
    return envs


@pytest.mark.parametrize(
    "wrap", [lambda e: ActionSequence(e, 2), lambda e: RecedingHorizonControl(e, 2, 10, 1)]
)
def test_action_sequences_refuse_vector_environments(wrap):
    with pytest.raises(NotImplementedError):
        wrap(NativeCountingEnv())


def test_a_subclass_is_not_silently_replaced_by_the_vector_wrapper_of_its_base():
    class Louder(ScaleReward):
        pass

    assert Louder(CountingEnv(), 2.0).step(np.zeros(2))[1] == 4.0
    with pytest.raises(NotImplementedError, match="Louder"):
        Louder(NativeCountingEnv(), 2.0)


def test_constructor_arguments_are_recorded():
    assert FrameStack(CountingEnv(), 3)._saved_kwargs == {"num_stack": 3}
    assert FrameStack(NativeCountingEnv(), 3)._saved_kwargs == {"num_stack": 3}
    assert ScaleReward(NativeCountingEnv(), 2.0)._saved_kwargs == {"scale": 2.0}


def test_wrapped_environments_can_be_copied():
    env = copy.deepcopy(FrameStack(CountingEnv(), 2))
    observation, _ = env.reset()
    assert env.observation_space.contains(observation)


@pytest.mark.parametrize("wrap", [lambda e: FrameStack(e, 2), lambda e: OnehotTime(e, 9)])
def test_next_step_autoreset_is_refused_where_it_would_mix_episodes(wrap):
    with pytest.raises(UserError, match="SAME_STEP"):
        wrap(gym.vector.SyncVectorEnv([CountingEnv]))


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("make", [NativeCountingEnv, CountingEnv])
def test_a_saved_state_continues_exactly(wrapper, make):
    def stack():
        return OnehotTime(FrameStack(WRAPPERS[wrapper](make()), 2), 100)

    original, resumed = stack(), stack()
    action = np.ones(original.action_space.shape, np.float32)
    original.reset(seed=0)
    for _ in range(3):
        original.step(action)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    resumed.reset(seed=1)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(2):
        expected, *rest = original.step(action)
        actual, *resumed_rest = resumed.step(action)
        for name in expected:
            np.testing.assert_array_equal(actual[name], expected[name])
        np.testing.assert_array_equal(resumed_rest[0], rest[0])


def test_no_state_is_offered_where_the_environment_cannot_save_its_own():
    assert FrameStack(sync_counting_envs(), 2).state_dict() is None
