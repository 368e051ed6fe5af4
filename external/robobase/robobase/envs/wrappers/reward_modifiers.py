"""Change rewards on their way from the environment; one class serves scalars and batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from robobase.envs.wrappers.core import AnyWrapper, EnvWrapper
from robobase.errors import UserError


class _Shaping(AnyWrapper):
    def __init__(self, env: Any, reward_shaping_fn: Callable[[Any], Any], **arguments: Any):
        super().__init__(env, **(arguments or {"reward_shaping_fn": reward_shaping_fn}))
        self._shape = reward_shaping_fn

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, self._shape(reward), terminated, truncated, info


class _Scaling(_Shaping):
    def __init__(self, env: Any, scale: float):
        super().__init__(env, lambda reward: reward * scale, scale=scale)


class _Clipping(_Shaping):
    def __init__(self, env: Any, lower_bound: float, upper_bound: float):
        bounds = {"lower_bound": lower_bound, "upper_bound": upper_bound}
        super().__init__(env, _clip_to(**bounds), **bounds)


class ShapeRewards(_Shaping, EnvWrapper, vectors=True):
    """Return `reward_shaping_fn(reward)`; for a vector environment it gets the `(N,)` array."""


class ScaleReward(_Scaling, ShapeRewards, vectors=True):
    """Multiply the reward by `scale`."""


class ClipReward(_Clipping, ShapeRewards, vectors=True):
    """Clip the reward to `[lower_bound, upper_bound]`."""


def _clip_to(lower_bound: float, upper_bound: float) -> Callable[[Any], Any]:
    if lower_bound > upper_bound:
        raise UserError(f"lower_bound={lower_bound} is above upper_bound={upper_bound}; swap them")
    return lambda reward: np.clip(reward, lower_bound, upper_bound)
