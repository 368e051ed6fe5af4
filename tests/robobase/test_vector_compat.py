"""The three layouts of final observations and infos give the same answers."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from robobase.envs.vector_compat import (
    final_info,
    final_mask,
    final_obs,
    final_obs_batch,
    is_vector,
    replace_final_obs,
    require_same_step,
)
from robobase.errors import UserError


def _objects(*values):
    array = np.full(len(values), None, dtype=object)
    array[:] = values
    return array


MASK = np.array([False, True, False])
LAST = {"x": np.array([1.0, 2.0])}
LAYOUTS = {
    "gymnasium_1": {
        "final_obs": _objects(None, LAST, None),
        "_final_obs": MASK,
        "final_info": {
            "task_success": np.array([0.0, 1.0, 0.0]),
            "_task_success": MASK,
            "other": np.array([3, 0, 0]),
            "_other": np.array([True, False, False]),
            "nested": {"a": np.array([0, 5, 0]), "_a": MASK},
            "_nested": MASK,
        },
        "_final_info": MASK,
    },
    "native": {
        "final_obs": {"x": np.array([[9.0, 9.0], [1.0, 2.0], [9.0, 9.0]])},
        "_final_obs": MASK,
        "final_info": {"task_success": np.array([0.0, 1.0, 0.0]), "nested": {"a": [0, 5, 0]}},
        "_final_info": MASK,
    },
    "gymnasium_0_29": {
        "final_observation": _objects(None, LAST, None),
        "_final_observation": MASK,
        "final_info": _objects(None, {"task_success": 1.0, "nested": {"a": 5}}, None),
        "_final_info": MASK,
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_final_data_reads_the_same_in_every_layout(layout):
    infos = LAYOUTS[layout]
    np.testing.assert_array_equal(final_obs(infos, 1)["x"], [1.0, 2.0])
    assert final_obs(infos, 0) is None
    assert final_info(infos, 1) == {"task_success": 1.0, "nested": {"a": 5}}
    assert final_info(infos, 2) is None
    np.testing.assert_array_equal(final_mask(infos), MASK)
    np.testing.assert_array_equal(final_obs_batch(infos)["x"][1], [1.0, 2.0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_replacing_final_observations_keeps_the_layout(layout):
    infos = dict(LAYOUTS[layout])
    key = next(k for k in infos if k.startswith("final_obs"))
    replace_final_obs(infos, lambda obs: {"y": obs["x"][:, :1] + 1})
    assert type(infos[key]) is type(LAYOUTS[layout][key])
    assert set(final_obs(infos, 1)) == {"y"}
    np.testing.assert_array_equal(final_obs(infos, 1)["y"], [2.0])
    assert final_obs(infos, 0) is None


def test_without_an_ended_episode_there_is_nothing():
    assert final_obs({}, 0) is None
    assert final_info({}, 0) is None
    assert final_mask({}) is None
    assert final_obs_batch({}) is None


def test_a_real_vector_environment_is_read_at_its_time_limit():
    def make():
        return gym.wrappers.TimeLimit(gym.make("CartPole-v1").unwrapped, 3)

    envs = SyncVectorEnv([make, make], autoreset_mode=AutoresetMode.SAME_STEP)
    assert is_vector(envs)
    assert not is_vector(envs.envs[0])
    require_same_step(envs)
    envs.reset(seed=0)
    for _ in range(3):
        obs, _, _, truncated, infos = envs.step(np.array([0, 1]))
    assert truncated.all()
    assert not np.array_equal(final_obs(infos, 0), obs[0])
    assert final_info(infos, 0) == {}
    envs.close()


def test_next_step_autoreset_is_refused_in_one_line():
    envs = SyncVectorEnv([lambda: gym.make("CartPole-v1")])
    with pytest.raises(UserError, match="SAME_STEP") as error:
        require_same_step(envs)
    assert "\n" not in str(error.value)
    envs.close()
