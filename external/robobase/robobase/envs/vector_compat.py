"""One place that knows what vector environments put into `infos` when a sub-environment ends.

With same-step autoreset the last observation and info of a finished episode travel in `infos`.
Three layouts are in use and all of them are read here:

* Gymnasium >= 1.1: `final_obs` is an object array of observations, `final_info` a dict of arrays
  with a `_key` mask beside every key;
* native vector environments: `final_obs` is a dict of arrays of shape `(N, ...)`;
* Gymnasium 0.29: the names `final_observation` and `final_info`, both object arrays.

`_final_obs` (or `_final_observation`, `_final_info`) is the `(N,)` mask of the finished ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from robobase.errors import UserError

Observation = dict[str, np.ndarray]

_OBS_KEYS = ("final_obs", "final_observation")
_INFO_KEY = "final_info"


def is_vector(env: Any) -> bool:
    """Whether `env` is a (possibly wrapped) vector environment."""
    return isinstance(env, gym.vector.VectorEnv)


def require_same_step(env: gym.vector.VectorEnv) -> None:
    """Raise `UserError` unless `env` resets finished sub-environments within the same step."""
    mode = env.metadata.get("autoreset_mode")
    if mode != AutoresetMode.SAME_STEP:
        raise UserError(
            f"{type(env.unwrapped).__name__} has autoreset_mode={mode}; allowed: SAME_STEP; build "
            "it with autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP"
        )


def final_mask(infos: dict[str, Any]) -> np.ndarray | None:
    """Mask `(N,)` of the sub-environments that end in this step; None when none does."""
    for key in (*_OBS_KEYS, _INFO_KEY):
        if f"_{key}" in infos:
            return np.asarray(infos[f"_{key}"], dtype=bool)
    return None


def final_obs(infos: dict[str, Any], i: int) -> Any:
    """Last observation of the episode that sub-environment `i` ends in this step, else None."""
    key = _obs_key(infos)
    if key is None:
        return None
    mask = infos.get(f"_{key}")
    if mask is not None and not mask[i]:
        return None
    value = infos[key]
    if isinstance(value, dict):
        return {name: array[i] for name, array in value.items()}
    return value[i]


def final_info(infos: dict[str, Any], i: int) -> dict[str, Any] | None:
    """Last info of the episode that sub-environment `i` ends in this step, else None."""
    if _INFO_KEY not in infos:
        return None
    mask = infos.get(f"_{_INFO_KEY}")
    if mask is not None and not mask[i]:
        return None
    value = infos[_INFO_KEY]
    return _row(value, i) if isinstance(value, dict) else value[i]


def final_obs_batch(infos: dict[str, Any]) -> Observation | None:
    """Last observations as arrays `(N, ...)`; None when no episode ends in this step.

    Only the rows of finished sub-environments (`final_mask`) hold data.
    """
    key = _obs_key(infos)
    if key is None:
        return None
    value = infos[key]
    if isinstance(value, dict):
        return value
    rows = [(i, obs) for i, obs in enumerate(value) if obs is not None]
    if not rows:
        return None
    batch = {}
    for name, first in rows[0][1].items():
        first = np.asarray(first)
        batch[name] = np.zeros((len(value), *first.shape), first.dtype)
        for i, obs in rows:
            batch[name][i] = obs[name]
    return batch


def replace_final_obs(infos: dict[str, Any], fn: Callable[[Observation], Observation]) -> None:
    """Replace the final observations by `fn` of them, keeping the layout they came in.

    `fn` maps arrays with a leading `N` to arrays with a leading `N`; it is called once, and only
    when an episode ends. Only rows of finished sub-environments are looked at afterwards.
    """
    batch = final_obs_batch(infos)
    if batch is None:
        return
    key = _obs_key(infos)
    assert key is not None
    old, new = infos[key], fn(batch)
    if isinstance(old, dict):
        infos[key] = new
        return
    rows = np.full(len(old), None, dtype=object)
    for i, obs in enumerate(old):
        if obs is not None:
            rows[i] = {name: array[i] for name, array in new.items()}
    infos[key] = rows


def _obs_key(infos: dict[str, Any]) -> str | None:
    return next((key for key in _OBS_KEYS if key in infos), None)


def _row(batched: dict[str, Any], i: int) -> dict[str, Any]:
    """Entry `i` of a recursively batched info; keys whose `_key` mask excludes `i` are left out."""
    row = {}
    for key, value in batched.items():
        if key.startswith("_") and key[1:] in batched:
            continue
        mask = batched.get(f"_{key}")
        if mask is None or mask[i]:
            row[key] = _row(value, i) if isinstance(value, dict) else value[i]
    return row
