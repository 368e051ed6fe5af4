"""The single environment, as other libraries find and use it."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import so101_robobase  # noqa: F401 - registers the environment
from robobase.errors import UserError
from so101_robobase.vector_env import LiftVectorEnv


def test_gymnasium_finds_the_environment_and_its_checker_is_content():
    env = gym.make("so101_robobase/Lift-v0", stage=0, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # infinite bounds of the observation are meant
        check_env(env.unwrapped)
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (256, 256, 3)
    env.close()


def test_gymnasium_makes_the_native_vector_environment():
    env = gym.make_vec(
        "so101_robobase/Lift-v0",
        num_envs=2,
        vectorization_mode="vector_entry_point",
        observation="state",
        stage=4,
    )
    assert isinstance(env.unwrapped, LiftVectorEnv)
    observations, _ = env.reset(seed=0)
    assert observations["low_dim_state"].shape == (2, 21)
    env.close()


def test_settings_are_those_of_the_config_groups_included():
    env = gym.make(
        "so101_robobase/Lift-v0",
        control={"mode": "cartesian_delta"},
        episode_length=6,
        hold_steps=5,
    )
    assert env.action_space.shape == (4,)
    env.reset(seed=0)
    outcomes = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(3)]
    assert outcomes == [(False, False), (False, False), (False, True)]
    with pytest.raises(UserError, match=r"lift\.stagee is unknown; did you mean .stage."):
        gym.make("so101_robobase/Lift-v0", stagee=3)


def test_infos_are_plain_numbers():
    env = gym.make("so101_robobase/Lift-v0", stage=1)
    _, info = env.reset(seed=0)
    assert info["is_grasping"] is True
    assert info["stage"] == 1
    assert isinstance(info["cube_z"], float)
    assert "task_success" not in info
