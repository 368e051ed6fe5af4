"""Frame stacking: the last `num_stack` observations in one, newest last."""

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
    box_entries,
    to_tensor,
    vector_counterpart_of,
)
from robobase.errors import UserError


class FrameStack(EnvWrapper):
    """Stack the last `num_stack` observations along a new axis; index -1 is the newest.

    Every entry `(*shape)` of the Dict observation becomes `(num_stack, *shape)`, for a vector
    environment `(N, num_stack, *shape)`. A reset fills the window with the first observation.
    Returned arrays belong to the caller.

    Raises:
        UserError: the space is no Dict of Boxes, `num_stack < 1`, or a vector environment does not
            reset within the same step.
    """

    def __init__(self, env: gym.Env, num_stack: int):
        super().__init__(env, num_stack=num_stack)
        self.num_stack = num_stack
        self.observation_space = _stacked_space(env.observation_space, num_stack)
        self._window = _Window(env.observation_space, num_stack, stack_axis=0)

    def reset(self, **kwargs: Any) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        self._window.fill(observation)
        return self._window.stacked(), info

    def step(self, action: np.ndarray) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._window.push(observation)
        return self._window.stacked(), reward, terminated, truncated, info

    def _wrapper_state(self) -> State:
        return self._window.state_dict()

    def _load_wrapper_state(self, state: State) -> None:
        self._window.load_state_dict(state)


@vector_counterpart_of(FrameStack)
class VectorFrameStack(VectorEnvWrapper):
    """`FrameStack` of a vector environment with same-step autoreset.

    The window of a sub-environment never spans two episodes: its final observation is stacked
    with the ended episode's frames, and its next window starts with the new episode's first frame.
    """

    def __init__(self, env: gym.vector.VectorEnv, num_stack: int):
        super().__init__(env, num_stack=num_stack)
        require_same_step(env)
        self.num_stack = num_stack
        self._set_single_observation_space(_stacked_space(env.single_observation_space, num_stack))
        self._window = _Window(env.observation_space, num_stack, stack_axis=1)

    def reset(self, **kwargs: Any) -> tuple[Observation, dict[str, Any]]:
        observations, infos = self.env.reset(**kwargs)
        self._window.fill(observations)
        return self._window.stacked(), infos

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        replace_final_obs(infos, self._window.stacked_with)
        self._window.push(observations)
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            self._window.fill(observations, ended)
        return self._window.stacked(), rewards, terminated, truncated, infos

    def _wrapper_state(self) -> State:
        return self._window.state_dict()

    def _load_wrapper_state(self, state: State) -> None:
        self._window.load_state_dict(state)


class _Window:
    """The last frames of every entry in a ring, so that a step writes one frame, not all."""

    def __init__(self, space: spaces.Space, num_stack: int, stack_axis: int):
        entries = box_entries(space, "FrameStack")
        self._frames = {  # (num_stack, *shape), shape with the leading N of a vector environment
            name: np.zeros((num_stack, *box.shape), box.dtype) for name, box in entries.items()
        }
        self._num_stack = num_stack
        self._stack_axis = stack_axis
        self._oldest = 0

    def fill(self, observation: Observation, rows: np.ndarray | None = None) -> None:
        """Set all frames (of the environments `rows`) to `observation`."""
        for name, frames in self._frames.items():
            if rows is None:
                frames[:] = observation[name]
            else:
                frames[:, rows] = observation[name][rows]

    def push(self, observation: Observation) -> None:
        for name, frames in self._frames.items():
            frames[self._oldest] = observation[name]
        self._oldest = (self._oldest + 1) % self._num_stack

    def stacked(self) -> Observation:
        """Copies of the windows, oldest frame first."""
        order = self._order()
        return {
            name: np.stack([frames[i] for i in order], axis=self._stack_axis)
            for name, frames in self._frames.items()
        }

    def stacked_with(self, newest: Observation) -> Observation:
        """What `stacked()` would return after `push(newest)`."""
        order = self._order()[1:]
        return {
            name: np.stack([*(frames[i] for i in order), newest[name]], axis=self._stack_axis)
            for name, frames in self._frames.items()
        }

    def _order(self) -> list[int]:
        return [(self._oldest + k) % self._num_stack for k in range(self._num_stack)]

    def state_dict(self) -> State:
        return {name: to_tensor(frames[self._order()]) for name, frames in self._frames.items()}

    def load_state_dict(self, state: State) -> None:
        for name, frames in self._frames.items():
            frames[:] = np.asarray(state[name])
        self._oldest = 0


def _stacked_space(space: spaces.Space, num_stack: int) -> spaces.Dict:
    if num_stack < 1:
        raise UserError(f"num_stack={num_stack} is not allowed; give 1 or more")
    return spaces.Dict(
        {
            name: spaces.Box(
                np.repeat(box.low[None], num_stack, axis=0),
                np.repeat(box.high[None], num_stack, axis=0),
                dtype=box.dtype.type,
            )
            for name, box in box_entries(space, "FrameStack").items()
        }
    )
