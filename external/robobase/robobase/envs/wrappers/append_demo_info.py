"""Marks data as (no) demonstration."""

from __future__ import annotations

from typing import Any

import numpy as np

from robobase.envs.wrappers.core import EnvWrapper, VectorEnvWrapper, vector_counterpart_of


class AppendDemoInfo(EnvWrapper):
    """Add `info["demo"] = 0` (vector: zeros `(N,)`) where the environment does not set it."""

    def reset(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(*args, **kwargs)
        info.setdefault("demo", 0)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        *transition, info = self.env.step(action)
        info.setdefault("demo", 0)
        return (*transition, info)


@vector_counterpart_of(AppendDemoInfo)
class VectorAppendDemoInfo(VectorEnvWrapper):
    """`AppendDemoInfo` of a vector environment."""

    def reset(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observations, infos = self.env.reset(*args, **kwargs)
        infos.setdefault("demo", np.zeros(self.num_envs))
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        *transition, infos = self.env.step(actions)
        infos.setdefault("demo", np.zeros(self.num_envs))
        return (*transition, infos)
