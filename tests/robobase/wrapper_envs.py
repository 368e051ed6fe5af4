"""Small environments for the tests of the wrappers."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space

OBSERVATION_SPACE = spaces.Dict(
    {
        "goal": spaces.Box(-10.0, 10.0, (2,), np.float32),
        "image": spaces.Box(0, 255, (4, 6, 2), np.uint8),
        "state": spaces.Box(-10.0, 10.0, (3,), np.float32),
    }
)


class CountingEnv(gym.Env):
    """Every entry of the observation is the number of steps; episodes end after `length`."""

    def __init__(self, length=5, action_bound=2.0):
        self.observation_space = OBSERVATION_SPACE
        self.action_space = spaces.Box(-action_bound, action_bound, (2,), np.float32)
        self.length = length
        self.count = 0
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._observation(), {}

    def step(self, action):
        self.actions.append(np.array(action))
        self.count += 1
        ended = self.count == self.length
        return self._observation(), 2.0, False, ended, {"count": self.count}

    def _observation(self):
        return {
            "state": np.full(3, self.count, np.float32),
            "image": np.full((4, 6, 2), self.count, np.uint8),
            "goal": np.full(2, -self.count, np.float32),
        }

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


class NativeCountingEnv(gym.vector.VectorEnv):
    """The same on arrays; sub-environment `i` ends after `lengths[i]` steps. Final observations
    come as a dict of arrays."""

    def __init__(self, lengths=(2, 3, 100)):
        self.num_envs = len(lengths)
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = OBSERVATION_SPACE
        self.single_action_space = spaces.Box(-2.0, 2.0, (2,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.lengths = np.array(lengths)
        self.count = np.zeros(self.num_envs, int)
        self.last_actions = None

    def reset(self, *, seed=None, options=None):
        self.count[:] = 0
        return self._observations(), {}

    def step(self, actions):
        self.last_actions = np.array(actions)
        self.count += 1
        ended = self.count == self.lengths
        infos = {}
        if ended.any():
            infos = {"final_obs": self._observations(), "_final_obs": ended.copy()}
            infos |= {"final_info": {"count": self.count.copy()}, "_final_info": ended.copy()}
        self.count[ended] = 0
        return (
            self._observations(),
            np.full(self.num_envs, 2.0),
            np.zeros(self.num_envs, bool),
            ended,
            infos,
        )

    def _observations(self):
        return {
            "state": np.repeat(self.count[:, None], 3, axis=1).astype(np.float32),
            "goal": np.repeat(-self.count[:, None], 2, axis=1).astype(np.float32),
            "image": np.broadcast_to(
                self.count[:, None, None, None], (self.num_envs, 4, 6, 2)
            ).astype(np.uint8),
        }

    def state_dict(self):
        return {"count": self.count.tolist()}

    def load_state_dict(self, state):
        self.count[:] = state["count"]


def sync_counting_envs(lengths=(2, 3, 100)):
    """The same through Gymnasium's vectorisation: final observations come as an object array."""
    return SyncVectorEnv(
        [lambda length=length: CountingEnv(length) for length in lengths],
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
