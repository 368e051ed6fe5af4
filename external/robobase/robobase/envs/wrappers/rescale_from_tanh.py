"""Policies act in [-1, 1]; these wrappers translate to what the environment takes, and back.

The conversions are static methods that take a single action `(A,)` or a batch `(N, A)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from robobase.envs.vector_compat import is_vector
from robobase.envs.wrappers.core import AnyWrapper, EnvWrapper
from robobase.errors import UserError

ActionStats = Mapping[str, Any]

QUATERNION = slice(3, 7)  # of an end-effector pose: position, quaternion, gripper
_UNIT_NORM_TOLERANCE = 1e-3


class _Rescaling(AnyWrapper):
    """`how`: what `transform_from_tanh` takes after the action."""

    transform_from_tanh: Callable[..., np.ndarray]
    how: tuple[Any, ...]

    def __init__(self, env: Any, **arguments: Any):
        super().__init__(env, **arguments)
        space = env.single_action_space if is_vector(env) else env.action_space
        if not isinstance(space, spaces.Box):
            raise UserError(f"rescaling actions needs a Box action space; got {space}")
        self.orig_action_space = space
        self._set_single_action_space(spaces.Box(-1.0, 1.0, space.shape, space.dtype.type))

    def action(self, action: np.ndarray) -> np.ndarray:
        """From [-1, 1] to the wrapped environment's action."""
        return type(self).transform_from_tanh(action, *self.how)

    def step(self, action: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        return self.env.step(self.action(action))


class _ToBounds(_Rescaling):
    MIN = -1.0
    MAX = 1.0

    def __init__(self, env: Any):
        super().__init__(env)
        if not self.orig_action_space.is_bounded():
            raise UserError(
                f"RescaleFromTanh needs finite action bounds; got {self.orig_action_space}"
            )
        self.how = (self.orig_action_space,)

    @staticmethod
    def transform_from_tanh(action: np.ndarray, action_space: spaces.Box) -> np.ndarray:
        """[-1, 1] to [low, high], without clipping; keeps the dtype."""
        low, high = action_space.low, action_space.high
        scaled = (action + 1.0) / 2.0 * (high - low) + low
        return scaled.astype(action.dtype)

    @staticmethod
    def transform_to_tanh(action: np.ndarray, action_space: spaces.Box) -> np.ndarray:
        """[low, high] to [-1, 1], clipped, float32."""
        return np.clip(_to_unit(action, action_space), -1.0, 1.0).astype(np.float32)


class RescaleFromTanh(_ToBounds, EnvWrapper, vectors=True):
    """Map [-1, 1] affinely to the bounds of the wrapped action space."""


class _ToPose(_ToBounds):
    @staticmethod
    def transform_from_tanh(action: np.ndarray, action_space: spaces.Box) -> np.ndarray:
        """As the base class, then entries 3..6 are scaled to unit norm (zeros are left alone)."""
        action = _ToBounds.transform_from_tanh(action, action_space)
        norm = np.linalg.norm(action[..., QUATERNION], axis=-1, keepdims=True)
        action[..., QUATERNION] /= np.where(norm > 0, norm, 1.0)
        return action

    @staticmethod
    def transform_to_tanh(action: np.ndarray, action_space: spaces.Box) -> np.ndarray:
        """[low, high] to [-1, 1], not clipped, float32; the quaternion must have unit norm."""
        norm = np.linalg.norm(action[..., QUATERNION], axis=-1)
        assert np.allclose(norm, 1.0, atol=_UNIT_NORM_TOLERANCE), (
            f"entries 3..6 must be a unit quaternion; their norm is {norm}"
        )
        return _to_unit(action, action_space).astype(np.float32)


class RescaleFromTanhEEPose(_ToPose, RescaleFromTanh, vectors=True):
    """`RescaleFromTanh` for end-effector poses (x, y, z, quaternion, gripper), shape `(8,)`.

    The quaternion that goes to the environment has unit norm.
    """


class _Standardizing(_Rescaling):
    CLIP = 3.0

    def __init__(self, env: Any, action_stats: ActionStats):
        super().__init__(env, action_stats=action_stats)
        self.how = (_require_stats(action_stats, "mean", "std"),)

    @staticmethod
    def transform_from_tanh(action: np.ndarray, action_stats: ActionStats) -> np.ndarray:
        """`action * 3 std + mean`; keeps the dtype."""
        mean, std = np.asarray(action_stats["mean"]), np.asarray(action_stats["std"])
        scaled = action * _Standardizing.CLIP * std + mean
        return scaled.astype(action.dtype)

    @staticmethod
    def transform_to_tanh(action: np.ndarray, action_stats: ActionStats) -> np.ndarray:
        """`(action - mean) / (3 std)`, clipped to [-1, 1], float32."""
        mean, std = np.asarray(action_stats["mean"]), np.asarray(action_stats["std"])
        unit = (action - mean) / std / _Standardizing.CLIP
        return np.clip(unit, -1.0, 1.0).astype(np.float32)


class RescaleFromTanhWithStandardization(_Standardizing, EnvWrapper, vectors=True):
    """Map [-1, 1] to mean ± 3 standard deviations of recorded actions.

    Args:
        env: environment to wrap.
        action_stats: `{"mean": (A,), "std": (A,)}`.
    """


class _WithinRange(_Rescaling):
    def __init__(self, env: Any, action_stats: ActionStats, min_max_margin: float = 0.0):
        super().__init__(env, action_stats=action_stats, min_max_margin=min_max_margin)
        self.how = _require_stats(action_stats, "min", "max"), min_max_margin

    @staticmethod
    def transform_from_tanh(
        action: np.ndarray, action_stats: ActionStats, min_max_margin: float
    ) -> np.ndarray:
        """[-1, 1] (clipped) to the widened range; keeps the dtype."""
        low, high = _widened(action_stats, min_max_margin)
        scaled = (np.clip(action, -1.0, 1.0) + 1.0) / 2.0 * (high - low) + low
        return scaled.astype(action.dtype)

    @staticmethod
    def transform_to_tanh(
        action: np.ndarray, action_stats: ActionStats, min_max_margin: float
    ) -> np.ndarray:
        """The widened range to [-1, 1], not clipped, float32."""
        low, high = _widened(action_stats, min_max_margin)
        # The small constant keeps a joint that never moved in the recording finite.
        return ((action - low) / (high - low + 1e-8) * 2.0 - 1.0).astype(np.float32)


class RescaleFromTanhWithMinMax(_WithinRange, EnvWrapper, vectors=True):
    """Map [-1, 1] to the range of recorded actions, widened by a relative margin.

    Args:
        env: environment to wrap.
        action_stats: `{"min": (A,), "max": (A,)}`.
        min_max_margin: each bound moves outwards by this share of its magnitude.
    """


def _to_unit(action: np.ndarray, action_space: spaces.Box) -> np.ndarray:
    low, high = action_space.low, action_space.high
    return (action - low) / (high - low) * 2.0 - 1.0


def _widened(action_stats: ActionStats, margin: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.asarray(action_stats["min"]), np.asarray(action_stats["max"])
    return low - np.abs(low) * margin, high + np.abs(high) * margin


def _require_stats(stats: ActionStats, *names: str) -> ActionStats:
    missing = [name for name in names if name not in stats]
    if missing:
        raise UserError(f"action_stats lacks {missing}; it needs {list(names)}")
    return stats
