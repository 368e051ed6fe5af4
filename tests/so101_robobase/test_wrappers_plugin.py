"""Wrappers for gymnasium users: success in infos, and what the robot sees as observation."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from robobase.errors import UserError
from so101_robobase.envs.single_env import TaskEnv
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.envs.wrappers import SegDepth, StateDict, SuccessInfo, WristCamera
from so101_robobase.tasks.lift.config import LiftConfig


class Blinks(gym.Env):
    """Succeeds at its second step only; ends after four."""

    observation_space = spaces.Box(0, 9, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._t = 0
        return np.zeros(1, np.float32), {"is_success": False}

    def step(self, action):
        self._t += 1
        observation = np.full(1, self._t, np.float32)
        return observation, 0.0, False, self._t == 4, {"is_success": self._t == 2}


def test_task_success_stays_once_the_episode_has_succeeded():
    env = SuccessInfo(Blinks())
    seen = [env.reset()[1]["task_success"]]
    seen += [env.step(np.zeros(1))[4]["task_success"] for _ in range(4)]
    assert seen == [0, 0, 1, 1, 1]
    assert env.reset()[1]["task_success"] == 0


def test_task_success_is_in_the_final_info_of_a_vector_environment_too():
    env = SuccessInfo(SyncVectorEnv([Blinks, Blinks], autoreset_mode=AutoresetMode.SAME_STEP))
    _, infos = env.reset()
    assert infos["task_success"].tolist() == [0, 0]
    for k in range(1, 9):
        *_, infos = env.step(np.zeros((2, 1), np.float32))
        ended = k % 4 == 0
        assert ("final_info" in infos) == ended
        if ended:
            assert infos["final_info"]["task_success"].tolist() == [1, 1]
        expected = 1.0 if k % 4 in (2, 3) else 0.0
        assert infos["task_success"].tolist() == [expected, expected]


@pytest.mark.parametrize(
    ("wrapper", "kind"),
    [
        (SegDepth, "seg_depth"),
        pytest.param(WristCamera, "rgb", marks=pytest.mark.opengl),
        (StateDict, "state"),
    ],
)
def test_a_wrapped_environment_observes_what_the_vector_environment_does(wrapper, kind):
    env = wrapper(TaskEnv(LiftConfig(), render_mode="rgb_array"))
    vector = TaskVectorEnv(LiftConfig(observation=kind), 1)
    observation, _ = env.reset(seed=2)
    expected, _ = vector.reset(seed=2)
    action = np.full((1, 6), 0.3, np.float32)
    for _ in range(2):
        assert observation in env.observation_space
        assert env.observation_space == vector.single_observation_space
        for key in expected:
            np.testing.assert_array_equal(observation[key], expected[key][0])
        observation, expected = env.step(action[0])[0], vector.step(action)[0]
    assert env.render().shape[0] == 256
    env.close()
    vector.close()


def test_without_depth_only_class_ids_are_observed():
    env = SegDepth(TaskEnv(), image_size=42, depth=False)
    observation, _ = env.reset(seed=0)
    assert observation["rgb"].shape == (1, 42, 42)
    assert set(np.unique(observation["rgb"])) <= set(range(6))
    env.close()


def test_only_a_lift_environment_can_be_looked_at():
    with pytest.raises(UserError, match="SegDepth wraps TaskEnv, not Blinks"):
        SegDepth(Blinks())
