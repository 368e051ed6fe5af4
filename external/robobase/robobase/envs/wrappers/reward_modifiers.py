"""Change rewards on their way from the environment; one class serves scalars and batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from robobase.envs.wrappers.core import EnvWrapper, VectorEnvWrapper, vector_counterpart_of
from robobase.errors import UserError


class _Shaping:
    """`step` of both wrappers."""

    env: Any
    _shape: Callable[[Any], Any]

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, self._shape(reward), terminated, truncated, info


class ShapeRewards(_Shaping, EnvWrapper):
    """Return `reward_shaping_fn(reward)`; for a vector environment it gets the `(N,)` array."""

    def __init__(self, env: gym.Env, reward_shaping_fn: Callable[[Any], Any], **arguments: Any):
        super().__init__(env, **(arguments or {"reward_shaping_fn": reward_shaping_fn}))
        self._shape = reward_shaping_fn


@vector_counterpart_of(ShapeRewards)
class VectorShapeRewards(_Shaping, VectorEnvWrapper):
    """`ShapeRewards` of a vector environment."""

    def __init__(
        self, env: gym.vector.VectorEnv, reward_shaping_fn: Callable[[Any], Any], **arguments: Any
    ):
        super().__init__(env, **(arguments or {"reward_shaping_fn": reward_shaping_fn}))
        self._shape = reward_shaping_fn


class ScaleReward(ShapeRewards):
    """Multiply the reward by `scale`."""

    def __init__(self, env: gym.Env, scale: float):
        super().__init__(env, lambda reward: reward * scale, scale=scale)


@vector_counterpart_of(ScaleReward)
class VectorScaleReward(VectorShapeRewards):
    """`ScaleReward` of a vector environment."""

    def __init__(self, env: gym.vector.VectorEnv, scale: float):
        super().__init__(env, lambda reward: reward * scale, scale=scale)


class ClipReward(ShapeRewards):
    """Clip the reward to `[lower_bound, upper_bound]`."""

    def __init__(self, env: gym.Env, lower_bound: float, upper_bound: float):
        bounds = {"lower_bound": lower_bound, "upper_bound": upper_bound}
        super().__init__(env, _clip_to(**bounds), **bounds)


@vector_counterpart_of(ClipReward)
class VectorClipReward(VectorShapeRewards):
    """`ClipReward` of a vector environment."""

    def __init__(self, env: gym.vector.VectorEnv, lower_bound: float, upper_bound: float):
        bounds = {"lower_bound": lower_bound, "upper_bound": upper_bound}
        super().__init__(env, _clip_to(**bounds), **bounds)


def _clip_to(lower_bound: float, upper_bound: float) -> Callable[[Any], Any]:
    if lower_bound > upper_bound:
        raise UserError(f"lower_bound={lower_bound} is above upper_bound={upper_bound}; swap them")
    return lambda reward: np.clip(reward, lower_bound, upper_bound)
