"""Change rewards on their way from the environment; one class serves scalars and batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from robobase.envs.wrappers.core import EnvWrapper, VectorEnvWrapper, vector_counterpart_of
from robobase.errors import UserError


class ShapeRewards(EnvWrapper):
    """Return `reward_shaping_fn(reward)`; for a vector environment it gets the `(N,)` array."""

    def __init__(self, env: gym.Env, reward_shaping_fn: Callable[[Any], Any]):
        RecordConstructorArgs.__init__(self, reward_shaping_fn=reward_shaping_fn)
        gym.Wrapper.__init__(self, env)
        self._shape = reward_shaping_fn

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, self._shape(reward), terminated, truncated, info


@vector_counterpart_of(ShapeRewards)
class VectorShapeRewards(VectorEnvWrapper):
    """`ShapeRewards` of a vector environment."""

    def __init__(self, env: gym.vector.VectorEnv, reward_shaping_fn: Callable[[Any], Any]):
        RecordConstructorArgs.__init__(self, reward_shaping_fn=reward_shaping_fn)
        gym.vector.VectorWrapper.__init__(self, env)
        self._shape = reward_shaping_fn

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        return observations, self._shape(rewards), terminated, truncated, infos


class ScaleReward(ShapeRewards):
    """Multiply the reward by `scale`."""

    def __init__(self, env: gym.Env, scale: float):
        RecordConstructorArgs.__init__(self, scale=scale)
        super().__init__(env, lambda reward: reward * scale)


@vector_counterpart_of(ScaleReward)
class VectorScaleReward(VectorShapeRewards):
    """`ScaleReward` of a vector environment."""

    def __init__(self, env: gym.vector.VectorEnv, scale: float):
        RecordConstructorArgs.__init__(self, scale=scale)
        super().__init__(env, lambda reward: reward * scale)


class ClipReward(ShapeRewards):
    """Clip the reward to `[lower_bound, upper_bound]`."""

    def __init__(self, env: gym.Env, lower_bound: float, upper_bound: float):
        RecordConstructorArgs.__init__(self, lower_bound=lower_bound, upper_bound=upper_bound)
        super().__init__(env, _clip_to(lower_bound, upper_bound))


@vector_counterpart_of(ClipReward)
class VectorClipReward(VectorShapeRewards):
    """`ClipReward` of a vector environment."""

    def __init__(self, env: gym.vector.VectorEnv, lower_bound: float, upper_bound: float):
        RecordConstructorArgs.__init__(self, lower_bound=lower_bound, upper_bound=upper_bound)
        super().__init__(env, _clip_to(lower_bound, upper_bound))


def _clip_to(lower_bound: float, upper_bound: float) -> Callable[[Any], Any]:
    if lower_bound > upper_bound:
        raise UserError(f"lower_bound={lower_bound} is above upper_bound={upper_bound}; swap them")
    return lambda reward: np.clip(reward, lower_bound, upper_bound)
