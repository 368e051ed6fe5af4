"""Turns channels-last images into channels-first ones."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from robobase.envs.vector_compat import Observation
from robobase.envs.wrappers.core import (
    ObservationWrapper,
    VectorObservationWrapper,
    box_entries,
    vector_counterpart_of,
)


class TransposeImageCHW(ObservationWrapper):
    """Every Dict entry with three axes `(H, W, C)` becomes `(C, H, W)`, uint8 0..255."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self._images = _image_names(env.observation_space)
        self.observation_space = _chw_space(env.observation_space, self._images)

    def observation(self, observation: Observation) -> Observation:
        return _to_chw(observation, self._images)


@vector_counterpart_of(TransposeImageCHW)
class VectorTransposeImageCHW(VectorObservationWrapper):
    """`TransposeImageCHW` of a vector environment: `(N, H, W, C)` becomes `(N, C, H, W)`."""

    def __init__(self, env: gym.vector.VectorEnv):
        super().__init__(env)
        self._images = _image_names(env.single_observation_space)
        self._set_single_observation_space(_chw_space(env.single_observation_space, self._images))

    def observations(self, observations: Observation) -> Observation:
        return _to_chw(observations, self._images)


def _image_names(space: spaces.Space) -> list[str]:
    boxes = box_entries(space, "TransposeImageCHW")
    return [name for name, box in boxes.items() if len(box.shape) == 3]


def _chw_space(space: spaces.Space, images: list[str]) -> spaces.Dict:
    entries: dict[str, spaces.Space] = dict(box_entries(space, "TransposeImageCHW"))
    for name in images:
        height, width, channels = entries[name].shape  # type: ignore[misc]
        entries[name] = spaces.Box(0, 255, (channels, height, width), np.uint8)
    return spaces.Dict(entries)


def _to_chw(observation: Observation, images: list[str]) -> Observation:
    chw = {name: np.moveaxis(observation[name], -1, -3) for name in images}
    return {**observation, **chw}
