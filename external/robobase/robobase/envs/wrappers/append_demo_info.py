"""Marks data as (no) demonstration."""

from __future__ import annotations

from typing import Any

import numpy as np

from robobase.envs.wrappers.core import AnyWrapper, EnvWrapper


class _Appending(AnyWrapper):
    def reset(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(*args, **kwargs)
        info.setdefault("demo", self._no_demo())
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        *transition, info = self.env.step(action)
        info.setdefault("demo", self._no_demo())
        return (*transition, info)

    def _no_demo(self) -> Any:
        return np.zeros(self.num_envs) if self.is_vector_env else 0


class AppendDemoInfo(_Appending, EnvWrapper, vectors=True):
    """Add `info["demo"] = 0` (vector: zeros `(N,)`) where the environment does not set it."""
