"""Policies act in [-1, 1]; these wrappers translate to what the environment takes, and back.

The conversions are static methods that take a single action `(A,)` or a batch `(N, A)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from robobase.envs.wrappers.core import EnvWrapper, VectorEnvWrapper, vector_counterpart_of
from robobase.errors import UserError

ActionStats = Mapping[str, Any]

QUATERNION = slice(3, 7)  # of an end-effector pose: position, quaternion, gripper
_UNIT_NORM_TOLERANCE = 1e-3


class _Conversion:
    """What a wrapper of one environment and that of a vector environment share.

    `how`: what `transform_from_tanh` takes after the action.
    """

    transform_from_tanh: Callable[..., np.ndarray]
    env: Any
    how: tuple[Any, ...]

    def action(self, action: np.ndarray) -> np.ndarray:
        """From [-1, 1] to the wrapped environment's action."""
        return type(self).transform_from_tanh(action, *self.how)

    def step(self, action: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        return self.env.step(self.action(action))


class _Rescale(_Conversion, EnvWrapper):
    def __init__(self, env: gym.Env, **arguments: Any):
        super().__init__(env, **arguments)
        self.orig_action_space = _box(env.action_space)
        self.action_space = _unit_box(self.orig_action_space)


class _VectorRescale(_Conversion, VectorEnvWrapper):
    def __init__(self, env: gym.vector.VectorEnv, **arguments: Any):
        super().__init__(env, **arguments)
        self.orig_action_space = _box(env.single_action_space)
        self._set_single_action_space(_unit_box(self.orig_action_space))


class RescaleFromTanh(_Rescale):
    """Map [-1, 1] affinely to the bounds of the wrapped action space."""

    MIN = -1.0
    MAX = 1.0

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.how = (_bounded(self.orig_action_space),)

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


@vector_counterpart_of(RescaleFromTanh)
class VectorRescaleFromTanh(_VectorRescale):
    """`RescaleFromTanh` of a vector environment."""

    transform_from_tanh = staticmethod(RescaleFromTanh.transform_from_tanh)

    def __init__(self, env: gym.vector.VectorEnv):
        super().__init__(env)
        self.how = (_bounded(self.orig_action_space),)


class RescaleFromTanhEEPose(RescaleFromTanh):
    """`RescaleFromTanh` for end-effector poses (x, y, z, quaternion, gripper), shape `(8,)`.

    The quaternion that goes to the environment has unit norm.
    """

    @staticmethod
    def transform_from_tanh(action: np.ndarray, action_space: spaces.Box) -> np.ndarray:
        """As the base class, then entries 3..6 are scaled to unit norm (zeros are left alone)."""
        action = RescaleFromTanh.transform_from_tanh(action, action_space)
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


@vector_counterpart_of(RescaleFromTanhEEPose)
class VectorRescaleFromTanhEEPose(VectorRescaleFromTanh):
    """`RescaleFromTanhEEPose` of a vector environment."""

    transform_from_tanh = staticmethod(RescaleFromTanhEEPose.transform_from_tanh)


class RescaleFromTanhWithStandardization(_Rescale):
    """Map [-1, 1] to mean ± 3 standard deviations of recorded actions.

    Args:
        env: environment to wrap.
        action_stats: `{"mean": (A,), "std": (A,)}`.
    """

    CLIP = 3.0

    def __init__(self, env: gym.Env, action_stats: ActionStats):
        super().__init__(env, action_stats=action_stats)
        self.how = (_require_stats(action_stats, "mean", "std"),)

    @staticmethod
    def transform_from_tanh(action: np.ndarray, action_stats: ActionStats) -> np.ndarray:
        """`action * 3 std + mean`; keeps the dtype."""
        mean, std = np.asarray(action_stats["mean"]), np.asarray(action_stats["std"])
        scaled = action * RescaleFromTanhWithStandardization.CLIP * std + mean
        return scaled.astype(action.dtype)

    @staticmethod
    def transform_to_tanh(action: np.ndarray, action_stats: ActionStats) -> np.ndarray:
        """`(action - mean) / (3 std)`, clipped to [-1, 1], float32."""
        mean, std = np.asarray(action_stats["mean"]), np.asarray(action_stats["std"])
        unit = (action - mean) / std / RescaleFromTanhWithStandardization.CLIP
        return np.clip(unit, -1.0, 1.0).astype(np.float32)


@vector_counterpart_of(RescaleFromTanhWithStandardization)
class VectorRescaleFromTanhWithStandardization(_VectorRescale):
    """`RescaleFromTanhWithStandardization` of a vector environment."""

    transform_from_tanh = staticmethod(RescaleFromTanhWithStandardization.transform_from_tanh)

    def __init__(self, env: gym.vector.VectorEnv, action_stats: ActionStats):
        super().__init__(env, action_stats=action_stats)
        self.how = (_require_stats(action_stats, "mean", "std"),)


class RescaleFromTanhWithMinMax(_Rescale):
    """Map [-1, 1] to the range of recorded actions, widened by a relative margin.

    Args:
        env: environment to wrap.
        action_stats: `{"min": (A,), "max": (A,)}`.
        min_max_margin: each bound moves outwards by this share of its magnitude.
    """

    def __init__(self, env: gym.Env, action_stats: ActionStats, min_max_margin: float = 0.0):
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


@vector_counterpart_of(RescaleFromTanhWithMinMax)
class VectorRescaleFromTanhWithMinMax(_VectorRescale):
    """`RescaleFromTanhWithMinMax` of a vector environment."""

    transform_from_tanh = staticmethod(RescaleFromTanhWithMinMax.transform_from_tanh)

    def __init__(
        self, env: gym.vector.VectorEnv, action_stats: ActionStats, min_max_margin: float = 0.0
    ):
        super().__init__(env, action_stats=action_stats, min_max_margin=min_max_margin)
        self.how = _require_stats(action_stats, "min", "max"), min_max_margin


def _to_unit(action: np.ndarray, action_space: spaces.Box) -> np.ndarray:
    low, high = action_space.low, action_space.high
    return (action - low) / (high - low) * 2.0 - 1.0


def _widened(action_stats: ActionStats, margin: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.asarray(action_stats["min"]), np.asarray(action_stats["max"])
    return low - np.abs(low) * margin, high + np.abs(high) * margin


def _box(space: spaces.Space) -> spaces.Box:
    if not isinstance(space, spaces.Box):
        raise UserError(f"rescaling actions needs a Box action space; got {space}")
    return space


def _unit_box(space: spaces.Box) -> spaces.Box:
    return spaces.Box(-1.0, 1.0, space.shape, space.dtype.type)


def _bounded(space: spaces.Box) -> spaces.Box:
    if not space.is_bounded():
        raise UserError(f"RescaleFromTanh needs finite action bounds; got {space}")
    return space


def _require_stats(stats: ActionStats, *names: str) -> ActionStats:
    missing = [name for name in names if name not in stats]
    if missing:
        raise UserError(f"action_stats lacks {missing}; it needs {list(names)}")
    return stats
