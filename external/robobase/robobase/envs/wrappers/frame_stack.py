"""Frame stacking: the last `num_stack` observations in one, newest last."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from robobase.envs.vector_compat import Observation, replace_final_obs, require_same_step
from robobase.envs.wrappers.core import (
    AnyWrapper,
    EnvWrapper,
    State,
    box_entries,
    observed,
    to_tensor,
)
from robobase.errors import UserError


class _Stacking(AnyWrapper):
    def __init__(self, env: Any, num_stack: int):
        super().__init__(env, num_stack=num_stack)
        if self.is_vector_env:
            require_same_step(env)
        self.num_stack = num_stack
        self._set_single_observation_space(_stacked_space(observed(env), num_stack))
        stack_axis = int(self.is_vector_env)
        self._window = _Window(env.observation_space, num_stack, stack_axis)

    def reset(self, **kwargs: Any) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        self._window.fill(observation)
        return self._window.stacked(), info

    def step(self, action: np.ndarray) -> tuple[Observation, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.is_vector_env:
            replace_final_obs(info, self._window.stacked_with)
        self._window.push(observation)
        if self.is_vector_env and len(ended := np.flatnonzero(terminated | truncated)):
            self._window.fill(observation, ended)
        return self._window.stacked(), reward, terminated, truncated, info

    def _wrapper_state(self) -> State:
        return self._window.state_dict()

    def _load_wrapper_state(self, state: State) -> None:
        self._window.load_state_dict(state)


class FrameStack(_Stacking, EnvWrapper, vectors=True):
    """Stack the last `num_stack` observations along a new axis; index -1 is the newest.

    Every entry `(*shape)` of the Dict observation becomes `(num_stack, *shape)`, for a vector
    environment `(N, num_stack, *shape)`. A reset fills the window with the first observation.
    Returned arrays belong to the caller.

    The window of a sub-environment never spans two episodes: its final observation is stacked
    with the ended episode's frames, and its next window starts with the new episode's first frame.

    Raises:
        UserError: the space is no Dict of Boxes, `num_stack < 1`, or a vector environment does not
            reset within the same step.
    """


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
