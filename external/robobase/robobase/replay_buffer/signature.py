"""What one step consists of: names, shapes and dtypes, and the check of what is added."""

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from robobase.errors import UserError
from robobase.replay_buffer.replay_buffer import Observation, ReplayElement

ACTION = "action"
REWARD = "reward"
TERMINAL = "terminal"
TRUNCATED = "truncated"


class StepSignature:
    """Elements of a step by name, and `collect`, which turns a step into arrays of that shape."""

    def __init__(
        self,
        action: tuple[tuple[int, ...], npt.DTypeLike],
        reward: tuple[tuple[int, ...], npt.DTypeLike],
        observations: gym.spaces.Dict,
        extras: gym.spaces.Dict,
    ):
        self.elements = {
            ACTION: ReplayElement(ACTION, *action),
            REWARD: ReplayElement(REWARD, *reward),
            TERMINAL: ReplayElement(TERMINAL, (), np.int8),
            TRUNCATED: ReplayElement(TRUNCATED, (), np.int8),
        }
        for spaces, is_observation in ((observations, True), (extras, False)):
            for name, space in spaces.items():
                assert space.shape is not None
                self.elements[name] = ReplayElement(name, space.shape, space.dtype, is_observation)
        self.observations = {n: e for n, e in self.elements.items() if e.is_observation}

    def collect(self, given: dict[str, Any], lead: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
        """A whole step as arrays (*lead, *shape); `UserError` if elements or shapes differ."""
        if given.keys() != self.elements.keys():
            raise UserError(
                f"Add expects {len(self.elements)} elements {list(self.elements)}, "
                f"received {len(given)}: {list(given)}"
            )
        return {name: self._checked(name, value, lead) for name, value in given.items()}

    def collect_final(self, given: Observation, lead: tuple[int, ...] = ()) -> Observation:
        """A final observation, likewise."""
        if given.keys() != self.observations.keys():
            raise UserError(
                f"the final observation has {list(given)}, expected {list(self.observations)}"
            )
        return {name: self._checked(name, value, lead) for name, value in given.items()}

    def _checked(self, name: str, value: Any, lead: tuple[int, ...]) -> np.ndarray:
        array = np.asarray(value)
        shape = lead + self.elements[name].shape
        if array.shape != shape:
            raise UserError(
                f"{name} has shape {array.shape}, expected {shape} (single frames and actions, "
                "no stacks)"
            )
        return array


def frame_stack_of(observation_elements: gym.spaces.Dict | None) -> int:
    """T, the first axis of every stacked space; `UserError` unless all have the same."""
    if not observation_elements:
        raise UserError("observation_elements is empty: give a Dict of spaces of shape (T, ...)")
    stacks = {}
    for name, space in observation_elements.items():
        if space.shape is None or len(space.shape) < 2:
            raise UserError(
                f"observation {name!r} has shape {space.shape}, expected (frame_stack, ...)"
            )
        stacks[name] = space.shape[0]
    if len(set(stacks.values())) != 1:
        raise UserError(f"observations must have the same frame stack, got {stacks}")
    return next(iter(stacks.values()))


def single_frames(stacked: gym.spaces.Dict) -> gym.spaces.Dict:
    """The same spaces without the leading time axis."""
    frames: dict[str, gym.Space] = {}
    for name, space in stacked.items():
        assert isinstance(space, gym.spaces.Box)
        dtype: Any = space.dtype
        frames[name] = gym.spaces.Box(space.low[0], space.high[0], dtype=dtype)
    return gym.spaces.Dict(frames)
