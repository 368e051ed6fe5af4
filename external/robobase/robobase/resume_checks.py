"""Whether what a snapshot holds can be continued: kinds, shapes and ranges, before it is loaded.

The snapshot may be anybody's, or damaged. Each part of a run checks its own with these.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces

MOST = 2**53  # of what is counted: steps, episodes, updates


def expect(fits: bool, what: str) -> None:
    """Raise ValueError, unless it fits."""
    if not fits:
        raise ValueError(f"its {what} cannot be continued")


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e300


def is_finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def has_shape(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether `value` is a tensor of this shape, of finite numbers."""
    return isinstance(value, torch.Tensor) and value.shape == shape and is_finite(value)


def expect_observations(stored: Any, space: spaces.Dict, num_envs: int) -> None:
    """Raise ValueError unless these are observations (N, ...) of the space."""
    expect(isinstance(stored, Mapping) and stored.keys() == space.spaces.keys(), "observations")
    for key, box in space.items():
        value = stored[key]
        fits = has_shape(value, (num_envs, *(box.shape or ())))
        expect(fits and value.numpy().dtype == box.dtype, f"observations: {key}")
