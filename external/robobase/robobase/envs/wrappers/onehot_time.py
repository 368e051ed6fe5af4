"""Makes the time left observable, so that the end of an episode is no surprise to a critic."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from robobase.envs.vector_compat import Observation, replace_final_obs, require_same_step
from robobase.envs.wrappers.core import AnyWrapper, EnvWrapper, State, observed, to_tensor
from robobase.errors import UserError

PADDING = 2  # the count runs from 0 to episode_length, and one entry is to spare


class _Timing(AnyWrapper):
    PADDING = PADDING

    def __init__(self, env: Any, episode_length: int):
        super().__init__(env, episode_length=episode_length)
        if self.is_vector_env:
            require_same_step(env)
        self._set_single_observation_space(_with_time(observed(env), episode_length))
        self._size = episode_length + PADDING
        self._count = np.zeros(self.num_envs if self.is_vector_env else (), np.int64)

    def reset(self, **kwargs: Any) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        self._count[...] = 0
        return self._add_time(observation), info

    def step(self, action: Any) -> tuple[Observation, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._count += 1
        ended, never = terminated | truncated, False
        if self.is_vector_env:
            replace_final_obs(info, self._add_time)
            self._count[ended], never = 0, np.zeros_like(ended)
        return self._add_time(observation), reward, ended, never, info

    def _add_time(self, observation: Observation) -> Observation:
        return {**observation, "time": _onehot(self._count, self._size)}

    def _wrapper_state(self) -> State:
        return {"count": to_tensor(self._count)}

    def _load_wrapper_state(self, state: State) -> None:
        self._count[...] = np.asarray(state["count"])


class OnehotTime(_Timing, EnvWrapper, vectors=True):
    """Add `time`: the steps since reset as a one-hot vector `(episode_length + 2,)`, uint8.

    A value that knows the time may treat the time limit as an end, so truncation is returned as
    termination. In a vector environment every sub-environment has a count of its own.

    Raises:
        UserError: the observation space is no Dict, or an episode outlasts `episode_length + 1`.
    """


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
