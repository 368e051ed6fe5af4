"""Wrappers that turn `TaskEnv` into what an agent wants: success in infos, pictures, a dict."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from robobase.envs.wrappers.core import AnyWrapper, EnvWrapper
from robobase.errors import UserError
from so101_robobase.envs.observer import Observer
from so101_robobase.envs.single_env import TaskEnv
from so101_robobase.sim.spectator import Spectator
from so101_robobase.vision.observation import IMAGE_SIZE


class _Counting(AnyWrapper):
    def __init__(self, env: Any):
        super().__init__(env)
        self._succeeded = np.zeros(self.num_envs if self.is_vector_env else (), bool)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        self._succeeded[...] = _now(info)
        return observation, self._with(info, self._succeeded)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        *transition, info = self.env.step(action)
        if self.is_vector_env and "final_info" in info:
            final = info["final_info"]
            info = {**info, "final_info": self._with(final, self._succeeded | _now(final))}
            self._succeeded[np.asarray(info["_final_info"], bool)] = False
        self._succeeded |= _now(info)
        return (*transition, self._with(info, self._succeeded))

    def _with(self, info: dict[str, Any], succeeded: np.ndarray) -> dict[str, Any]:
        return {**info, "task_success": succeeded.astype(float)[()]}

    def _wrapper_state(self) -> dict[str, Any]:
        return {"succeeded": self._succeeded.tolist()}

    def _load_wrapper_state(self, state: dict[str, Any]) -> None:
        self._succeeded[...] = state["succeeded"]


def _now(info: dict[str, Any]) -> np.ndarray:
    success, told = info.get("is_success", False), info.get("_is_success", True)
    return np.asarray(success, bool) & np.asarray(told, bool)


class SuccessInfo(_Counting, EnvWrapper, vectors=True):
    """Add `info["task_success"]`: 1.0 once `info["is_success"]` was true in the episode, else 0.0.

    Of a vector environment with same-step autoreset every info gets it, final infos too.
    """


class Observed(gym.Wrapper, RecordConstructorArgs):
    """Replaces the observation of a `TaskEnv` by one of `Observer`, and renders with it."""

    def __init__(
        self, env: gym.Env, kind: str, image_size: int = IMAGE_SIZE, renderer: str = "auto"
    ):
        RecordConstructorArgs.__init__(self, kind=kind, image_size=image_size, renderer=renderer)
        gym.Wrapper.__init__(self, env)
        base = env.unwrapped
        if not isinstance(base, TaskEnv):
            raise UserError(f"{type(self).__name__} wraps TaskEnv, not {type(base).__name__}")
        self._observer = Observer(
            base.task.sim, kind, image_size, renderer, base.config.sight, base.config.corruption
        )
        self._spectator = Spectator(base.task.sim, kind)
        self._picture: np.ndarray | None = None
        self.observation_space = self._observer.space

    def reset(self, **kwargs: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        _, info = self.env.reset(**kwargs)
        return self._observe(), info

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], Any, bool, bool, dict[str, Any]]:
        _, reward, terminated, truncated, info = self.env.step(action)
        return self._observe(), reward, terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """A view of the scene beside the observed picture, (H, W, 3) uint8."""
        if self.render_mode is None:
            return None
        return self._spectator.draw(0, self._picture)

    def close(self) -> None:
        self._observer.close()
        self._spectator.close()
        self.env.close()

    def _observe(self) -> dict[str, np.ndarray]:
        observation = {key: value[0] for key, value in self._observer.observe().items()}
        self._picture = observation.get("rgb")
        return observation


class SegDepth(Observed):
    """What a segmenting, depth-estimating robot sees: `rgb` (2, H, W) and `low_dim_state` (18,).

    Channel 0 of `rgb` holds class ids 0 to 5, channel 1 disparity 0 (far) to 255 (near). With
    `depth=False` there is only channel 0.
    """

    def __init__(
        self,
        env: gym.Env,
        image_size: int = IMAGE_SIZE,
        renderer: str = "auto",
        depth: bool = True,
    ):
        RecordConstructorArgs.__init__(self, image_size=image_size, renderer=renderer, depth=depth)
        super().__init__(env, "seg_depth" if depth else "seg", image_size, renderer)


class WristCamera(Observed):
    """The wrist camera's colours: `rgb` (3, H, W) uint8 and `low_dim_state` (18,)."""

    def __init__(self, env: gym.Env, image_size: int = IMAGE_SIZE, renderer: str = "auto"):
        RecordConstructorArgs.__init__(self, image_size=image_size, renderer=renderer)
        super().__init__(env, "rgb", image_size, renderer)


class StateDict(Observed):
    """The state vector as `{"low_dim_state": (21,)}`, for agents that want a dict."""

    def __init__(self, env: gym.Env):
        RecordConstructorArgs.__init__(self)
        super().__init__(env, "state", IMAGE_SIZE, "auto")
