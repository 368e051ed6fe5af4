"""What all wrappers share: serving single and vector environments, and saving state."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector.utils import batch_space

from robobase.envs.vector_compat import Observation, is_vector, replace_final_obs
from robobase.errors import UserError

State = dict[str, Any]


class AnyWrapper:
    """What a wrapper does to single and to vector environments alike; see `EnvWrapper`.

    Adds `state_dict`/`load_state_dict`, which include the wrapped environment's state.
    """

    env: Any
    num_envs: int  # of a vector environment
    is_vector_env: ClassVar[bool]

    def __init__(self, env: Any, **arguments: Any):
        """`arguments` of the wrapper's constructor are recorded, as gymnasium wants it."""
        super().__init__(env, **arguments)  # type: ignore[call-arg]

    def _set_single_observation_space(self, space: spaces.Space) -> None:
        """Observations of one environment, of which a vector environment gives a batch."""
        raise NotImplementedError

    def _set_single_action_space(self, space: spaces.Space) -> None:
        raise NotImplementedError

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


class VectorEnvWrapper(AnyWrapper, gym.vector.VectorWrapper, RecordConstructorArgs):
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


class EnvWrapper(AnyWrapper, gym.Wrapper, RecordConstructorArgs, metaclass=ABCMeta):
    """Base of the wrappers of single environments.

    One for both kinds is `class Name(Shared, EnvWrapper, vectors=True)`, where `Shared`, an
    `AnyWrapper`, does all the work. Given a `VectorEnv`, its constructor returns a
    `gymnasium.vector.VectorWrapper`, never a `gym.Env`, and `isinstance(it, Name)` holds.
    """

    is_vector_env = False
    vector_class: ClassVar[type | None] = None

    def __init_subclass__(cls, vectors: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vectors:
            content = {"__doc__": cls.__doc__, "__module__": cls.__module__}
            bases = (cls.__bases__[0], VectorEnvWrapper)
            cls.vector_class = type(f"Vector{cls.__name__}", bases, content)

    def __init__(self, env: gym.Env, **arguments: Any):
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
        cls.register(vector_class)
        return vector_class(env, *args, **kwargs)

    def _set_single_observation_space(self, space: spaces.Space) -> None:
        self.observation_space = space

    def _set_single_action_space(self, space: spaces.Space) -> None:
        self.action_space = space


class MapsObservations(AnyWrapper):
    """Maps observations without remembering anything."""

    def observation(self, observation: Observation) -> Observation:
        """Map one observation, or a batch of them with leading axis `N`."""
        raise NotImplementedError

    def reset(self, **kwargs: Any) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        return self.observation(observation), info

    def step(self, action: Any) -> tuple[Observation, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.is_vector_env:
            replace_final_obs(info, self.observation)
        return self.observation(observation), reward, terminated, truncated, info


def observed(env: Any) -> spaces.Space:
    """The observation space of one environment."""
    return env.single_observation_space if is_vector(env) else env.observation_space


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
