"""Turns channels-last images into channels-first ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from robobase.envs.vector_compat import Observation
from robobase.envs.wrappers.core import EnvWrapper, MapsObservations, box_entries, observed


class _Transposing(MapsObservations):
    def __init__(self, env: Any):
        super().__init__(env)
        entries: dict[str, spaces.Space] = dict(box_entries(observed(env), "TransposeImageCHW"))
        self._images = [name for name, box in entries.items() if len(box.shape or ()) == 3]
        for name in self._images:
            height, width, channels = entries[name].shape  # type: ignore[misc]
            entries[name] = spaces.Box(0, 255, (channels, height, width), np.uint8)
        self._set_single_observation_space(spaces.Dict(entries))

    def observation(self, observation: Observation) -> Observation:
        chw = {name: np.moveaxis(observation[name], -1, -3) for name in self._images}
        return {**observation, **chw}


class TransposeImageCHW(_Transposing, EnvWrapper, vectors=True):
    """Every Dict entry with three axes `(H, W, C)` becomes `(C, H, W)`, uint8 0..255."""
