"""The single environment, as other libraries find and use it."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import so101_robobase  # noqa: F401 - registers the environment
from robobase.errors import UserError
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.tasks import names


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
    assert isinstance(env.unwrapped, TaskVectorEnv)
    observations, _ = env.reset(seed=0)
    assert observations["low_dim_state"].shape == (2, 21)
    env.close()


@pytest.mark.parametrize("name", names())
def test_every_task_has_an_id_for_one_environment_and_for_many(name):
    single = gym.make(f"so101_robobase/{name.capitalize()}-v0", episode_length=40)
    several = gym.make_vec(
        f"so101_robobase/{name.capitalize()}-v0", num_envs=2, observation="state"
    )
    assert single.unwrapped.config.name == several.unwrapped.config.name == name
    assert isinstance(several.unwrapped, TaskVectorEnv)
    single.close()
    several.close()


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
    with pytest.raises(UserError, match=r"lift\.stagee is unknown; did you mean stage"):
        gym.make("so101_robobase/Lift-v0", stagee=3)


def test_infos_are_plain_numbers():
    env = gym.make("so101_robobase/Lift-v0", stage=1)
    _, info = env.reset(seed=0)
    assert info["is_grasping"] is True
    assert info["stage"] == 1
    assert isinstance(info["cube_z"], float)
    assert "task_success" not in info


@pytest.mark.parametrize(
    "kind", ["seg_depth", "seg", pytest.param("rgb", marks=pytest.mark.opengl), "state"]
)
def test_the_setting_observation_is_obeyed_as_by_the_vector_environment(kind):
    settings = {"stage": 3, "observation": kind, "image_size": 42, "renderer": "auto"}
    if kind == "state":
        settings = {"stage": 3, "observation": kind}
    single = gym.make("so101_robobase/Lift-v0", **settings)
    several = gym.make_vec("so101_robobase/Lift-v0", num_envs=1, **settings)
    assert single.observation_space == several.single_observation_space
    action = np.full(6, 0.2, np.float32)
    ours, theirs = [single.reset(seed=4)[0]], [several.reset(seed=[4])[0]]
    ours.append(single.step(action)[0])
    theirs.append(several.step(action[None])[0])
    for one, many in zip(ours, theirs, strict=True):
        assert one.keys() == many.keys()
        for key in one:
            if key != "rgb":
                np.testing.assert_array_equal(one[key], many[key][0])
        assert single.observation_space.contains(one)
    numbers = 21 if kind == "state" else 18
    assert ours[0]["low_dim_state"].shape == (numbers,)
    single.close()
    several.close()


@pytest.mark.opengl
def test_pictures_stand_beside_the_scene_when_they_are_observed():
    env = gym.make("so101_robobase/Lift-v0", observation="seg", render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (256, 3 * 256, 3)
    env.close()


@pytest.mark.parametrize("setting", [{"image_size": 64}, {"renderer": "ray"}])
def test_a_setting_without_effect_is_refused(setting):
    with pytest.raises(UserError, match="has no effect without observation"):
        gym.make("so101_robobase/Lift-v0", **setting)


def test_the_teacher_speaks_in_the_infos():
    env = gym.make("so101_robobase/Lift-v0", stage=3, teacher=True)
    _, info = env.reset(seed=0)
    action = info["teacher_action"]
    assert action.shape == (6,)
    for _ in range(100):
        *_, terminated, truncated, info = env.step(info["teacher_action"])
        if terminated or truncated:
            break
    assert info["is_success"]


def test_a_config_and_settings_exclude_each_other():
    from so101_robobase.envs.single_env import TaskEnv
    from so101_robobase.tasks.lift.config import LiftConfig

    for make in (TaskEnv, TaskVectorEnv):
        with pytest.raises(UserError, match="give a config, or stage; not both"):
            make(LiftConfig(), stage=3)
        with pytest.raises(UserError, match="render_mode='human' is unknown"):
            make(LiftConfig(), render_mode="human")
