"""Joins observation entries of one rank into a single entry."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from robobase.envs.vector_compat import Observation
from robobase.envs.wrappers.core import EnvWrapper, MapsObservations, box_entries, observed
from robobase.errors import UserError

ObsStats = Mapping[str, Mapping[str, Any]]


class _Concatenating(MapsObservations):
    def __init__(
        self,
        env: Any,
        shape_length: int,
        dim: int,
        new_name: str,
        norm_obs: bool = False,
        obs_stats: ObsStats | None = None,
        keys_to_ignore: Collection[str] | None = None,
    ):
        super().__init__(
            env,
            shape_length=shape_length,
            dim=dim,
            new_name=new_name,
            norm_obs=norm_obs,
            obs_stats=obs_stats,
            keys_to_ignore=keys_to_ignore,
        )
        stats = obs_stats if norm_obs else None
        boxes = box_entries(observed(env), "ConcatDim")
        ignored = set(keys_to_ignore or ())
        self._joined = [
            name
            for name, box in boxes.items()
            if len(box.shape) == shape_length and name not in ignored
        ]
        self._kept = [name for name in boxes if name not in self._joined]
        if not self._joined:
            shapes = {name: box.shape for name, box in boxes.items()}
            raise UserError(
                f"ConcatDim found no observation with {shape_length} axes among {shapes}; "
                "change shape_length or keys_to_ignore"
            )
        if new_name in self._kept:
            raise UserError(f"new_name={new_name!r} is an observation that is kept; rename it")
        self._new_name = new_name
        self._axis = dim if dim < 0 else dim - shape_length  # from the end: right for batches too
        self._stats = {
            name: (np.asarray(stats["mean"][name]), np.asarray(stats["std"][name]))
            for name in self._joined
            if stats and name in stats["mean"] and name in stats["std"]
        }
        low = self._join({name: boxes[name].low for name in self._joined})
        high = self._join({name: boxes[name].high for name in self._joined})
        entries: dict[str, spaces.Space] = {name: boxes[name] for name in self._kept}
        entries[new_name] = spaces.Box(low, high, dtype=np.float32)
        self._set_single_observation_space(spaces.Dict(entries))

    def observation(self, observation: Observation) -> Observation:
        result = {name: observation[name] for name in self._kept}
        result[self._new_name] = self._join(observation)
        return result

    def _join(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        pieces = []
        for name in self._joined:
            piece = observation[name]
            if name in self._stats:
                mean, std = self._stats[name]
                piece = (piece - mean) / std
            pieces.append(piece)
        return np.concatenate(pieces, axis=self._axis).astype(np.float32, copy=False)


class ConcatDim(_Concatenating, EnvWrapper, vectors=True):
    """Concatenate all entries with `shape_length` axes along axis `dim` into `new_name` (float32).

    Axes are those of a single environment, also where a vector environment is wrapped. Pieces come
    in the order of the observation space; the originals are dropped, all other entries are kept.

    Args:
        env: environment with a Dict of Boxes as observation space.
        shape_length: number of axes of the entries to join.
        dim: axis to join along; negative counts from the end.
        new_name: name of the joined entry.
        norm_obs: normalise entry `k` to `(v - mean[k]) / std[k]` where `obs_stats` knows it.
        obs_stats: `{"mean": {k: array}, "std": {k: array}}`.
        keys_to_ignore: entries to leave alone.

    Raises:
        UserError: no entry matches, or `new_name` is the name of an entry that is kept.
    """
