"""What all wrappers share: choosing the vector implementation, and saving state."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector.utils import batch_space

from robobase.envs.vector_compat import Observation, is_vector, replace_final_obs
from robobase.errors import UserError

State = dict[str, Any]
VectorClass = TypeVar("VectorClass", bound=type)


class SavesState:
    """Adds `state_dict`/`load_state_dict`, which include the wrapped environment's state."""

    env: Any

    def state_dict(self) -> State | None:
        """Everything that decides what the next steps return, as tensors and plain containers.

        None when the wrapped environment cannot save its own state: half a state would resume a
        run wrongly without a word.
        """
        save = getattr(self.env, "state_dict", None)
        wrapped = save() if save is not None else None
        if wrapped is None:
            return None
        return {"wrapper": self._wrapper_state(), "env": wrapped}

    def load_state_dict(self, state: State) -> None:
        """Continue from a `state_dict()` of an equally built environment."""
        self.env.load_state_dict(state["env"])
        self._load_wrapper_state(state["wrapper"])

    def _wrapper_state(self) -> State:
        return {}

    def _load_wrapper_state(self, state: State) -> None:
        pass


class EnvWrapper(SavesState, gym.Wrapper, RecordConstructorArgs, metaclass=ABCMeta):
    """Base of the wrappers of single environments.

    Given a `VectorEnv`, the constructor returns the class's vector counterpart instead. That is a
    `gymnasium.vector.VectorWrapper`, never a `gym.Env`, and `isinstance(it, ThisWrapper)` holds.
    """

    is_vector_env = False
    vector_class: ClassVar[type | None] = None

    def __init__(self, env: gym.Env, **arguments: Any):
        """`arguments` of the wrapper's constructor are recorded, as gymnasium wants it."""
        RecordConstructorArgs.__init__(self, **arguments)
        gym.Wrapper.__init__(self, env)

    # `env` has a default because copy and pickle call `__new__` with the class alone.
    def __new__(cls, env: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not is_vector(env):
            return super().__new__(cls)
        vector_class = cls.__dict__.get("vector_class")  # a subclass does not inherit it
        if vector_class is None:
            raise NotImplementedError(
                f"{cls.__name__} cannot wrap a vector environment; wrap its sub-environments"
            )
        return vector_class(env, *args, **kwargs)


class ObservationWrapper(EnvWrapper):
    """Base of wrappers of single environments that map observations without remembering."""

    def observation(self, observation: Observation) -> Observation:
        """Map one observation."""
        raise NotImplementedError

    def reset(self, **kwargs: Any) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        return self.observation(observation), info

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self.observation(observation), reward, terminated, truncated, info


class VectorEnvWrapper(SavesState, gym.vector.VectorWrapper, RecordConstructorArgs):
    """Base of the wrappers of vector environments."""

    is_vector_env = True

    def __init__(self, env: gym.vector.VectorEnv, **arguments: Any):
        RecordConstructorArgs.__init__(self, **arguments)
        gym.vector.VectorWrapper.__init__(self, env)

    def _set_single_observation_space(self, space: spaces.Space) -> None:
        self.single_observation_space = space
        self.observation_space = batch_space(space, self.num_envs)

    def _set_single_action_space(self, space: spaces.Space) -> None:
        self.single_action_space = space
        self.action_space = batch_space(space, self.num_envs)


class VectorObservationWrapper(VectorEnvWrapper):
    """Base of vector wrappers that map observations without remembering anything.

    Gymnasium's own class of this name refuses same-step autoreset.
    """

    def observations(self, observations: Observation) -> Observation:
        """Map a batch of observations with leading axis `N`."""
        raise NotImplementedError

    def reset(self, **kwargs: Any) -> tuple[Observation, dict[str, Any]]:
        observations, infos = self.env.reset(**kwargs)
        return self.observations(observations), infos

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        replace_final_obs(infos, self.observations)
        return self.observations(observations), rewards, terminated, truncated, infos


def vector_counterpart_of(single: type[EnvWrapper]) -> Callable[[VectorClass], VectorClass]:
    """Class decorator: what `single(vector_env, ...)` returns."""

    def bind(vector: VectorClass) -> VectorClass:
        single.vector_class = vector
        single.register(vector)
        return vector

    return bind


def box_entries(space: spaces.Space, wrapper: str) -> dict[str, spaces.Box]:
    """Entries of a Dict of Boxes by name; any other space raises `UserError`."""
    if not isinstance(space, spaces.Dict):
        raise UserError(f"{wrapper} needs a Dict observation space; got {space}")
    entries = {}
    for name, entry in space.spaces.items():
        if not isinstance(entry, spaces.Box):
            raise UserError(f"{wrapper} needs Box entries; observation {name!r} is {entry}")
        entries[name] = entry
    return entries


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """A copy of `array` in the one array type that `torch.load(weights_only=True)` accepts."""
    return torch.from_numpy(np.array(array))
