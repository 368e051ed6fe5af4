"""Makes the time left observable, so that the end of an episode is no surprise to a critic."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from robobase.envs.vector_compat import Observation, replace_final_obs, require_same_step
from robobase.envs.wrappers.core import (
    EnvWrapper,
    State,
    VectorEnvWrapper,
    to_tensor,
    vector_counterpart_of,
)
from robobase.errors import UserError

PADDING = 2  # the count runs from 0 to episode_length, and one entry is to spare


class OnehotTime(EnvWrapper):
    """Add `time`: the steps since reset as a one-hot vector `(episode_length + 2,)`, uint8.

    A value that knows the time may treat the time limit as an end, so truncation is returned as
    termination.

    Raises:
        UserError: the observation space is no Dict, or an episode outlasts `episode_length + 1`.
    """

    PADDING = PADDING

    def __init__(self, env: gym.Env, episode_length: int):
        super().__init__(env, episode_length=episode_length)
        self.observation_space = _with_time(env.observation_space, episode_length)
        self._size = episode_length + PADDING
        self._count = np.zeros((), np.int64)

    def reset(self, **kwargs: Any) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        self._count[...] = 0
        return self._add_time(observation), info

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._count += 1
        return self._add_time(observation), reward, terminated or truncated, False, info

    def _add_time(self, observation: Observation) -> Observation:
        return {**observation, "time": _onehot(self._count, self._size)}

    def _wrapper_state(self) -> State:
        return {"count": to_tensor(self._count)}

    def _load_wrapper_state(self, state: State) -> None:
        self._count[...] = np.asarray(state["count"])


@vector_counterpart_of(OnehotTime)
class VectorOnehotTime(VectorEnvWrapper):
    """`OnehotTime` of a vector environment: one count per sub-environment."""

    PADDING = PADDING

    def __init__(self, env: gym.vector.VectorEnv, episode_length: int):
        super().__init__(env, episode_length=episode_length)
        require_same_step(env)
        self._set_single_observation_space(_with_time(env.single_observation_space, episode_length))
        self._size = episode_length + PADDING
        self._count = np.zeros(self.num_envs, np.int64)

    def reset(self, **kwargs: Any) -> tuple[Observation, dict[str, Any]]:
        observations, infos = self.env.reset(**kwargs)
        self._count[:] = 0
        return self._add_time(observations), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        self._count += 1
        replace_final_obs(infos, self._add_time)
        ended = terminated | truncated
        self._count[ended] = 0
        return self._add_time(observations), rewards, ended, np.zeros_like(ended), infos

    def _add_time(self, observations: Observation) -> Observation:
        return {**observations, "time": _onehot(self._count, self._size)}

    def _wrapper_state(self) -> State:
        return {"count": to_tensor(self._count)}

    def _load_wrapper_state(self, state: State) -> None:
        self._count[:] = np.asarray(state["count"])


def _onehot(count: np.ndarray, size: int) -> np.ndarray:
    if np.any(count >= size):
        raise UserError(
            f"an episode is longer than episode_length={size - PADDING}; "
            "give OnehotTime the environment's real time limit"
        )
    return (np.arange(size) == count[..., None]).astype(np.uint8)


def _with_time(space: spaces.Space, episode_length: int) -> spaces.Dict:
    if not isinstance(space, spaces.Dict):
        raise UserError(f"OnehotTime needs a Dict observation space; got {space}")
    if episode_length < 1:
        raise UserError(f"episode_length={episode_length} is not allowed; give 1 or more")
    time = spaces.Box(0, 1, (episode_length + PADDING,), np.uint8)
    return spaces.Dict({**space.spaces, "time": time})
