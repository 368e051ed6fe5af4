"""Observations of a batch of simulations, made with the functions that the robot uses too."""

from collections.abc import Callable

import numpy as np
from gymnasium import spaces

from so101_robobase.kinematics import rpy
from so101_robobase.observation import (
    PROPRIOCEPTION_NAMES,
    disparity_from_depth,
    proprioception,
    rgb,
    seg,
    seg_depth,
)
from so101_robobase.sim.lift import LiftTask
from so101_robobase.sim.renderer import Renderer, make_renderer

CHANNELS = {"rgb": 3, "seg": 1, "seg_depth": 2}
"""Channels of one picture by observation type."""

STATE_NAMES = (*PROPRIOCEPTION_NAMES, "cube.x", "cube.y", "cube.z")
"""Names of the 21 numbers of a state observation: the policy's 18, and the cube in m."""


class Observer:
    """Looks at the simulations of a `LiftTask`.

    | kind      | entries                                                                       |
    |-----------|-------------------------------------------------------------------------------|
    | seg_depth | rgb (2, H, W) uint8: class ids 0 to 5, disparity 0 to 255; low_dim_state (18,)|
    | seg       | rgb (1, H, W) uint8: class ids; low_dim_state (18,)                           |
    | rgb       | rgb (3, H, W) uint8: colours; low_dim_state (18,)                             |
    | state     | low_dim_state (21,): the 18 numbers and the cube's position                   |

    `low_dim_state` is float32, named in `PROPRIOCEPTION_NAMES`; with a picture nothing of the cube
    is in it. H = W = `image_size`.
    """

    def __init__(self, task: LiftTask, kind: str, image_size: int, renderer: str):
        self._task = task
        self._kind = kind
        self._size = image_size
        self._renderer: Renderer | None = None
        if kind != "state":
            # The wrist camera's centre square is rendered directly at the size it is seen in.
            self._renderer = make_renderer(renderer, task.scene, image_size, image_size)
        self._picture: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "seg_depth": self._seg_depth,
            "seg": self._seg,
            "rgb": self._rgb,
        }
        self.space = observation_space(kind, image_size)

    def observe(self, ids: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Observations of the members `ids` (default all) with a leading axis for them."""
        rows = slice(None) if ids is None else ids
        if self._kind == "state":
            return {"low_dim_state": state_observation(self._task)[rows]}
        return {
            "rgb": self._picture[self._kind](self._task.qpos[rows]),
            "low_dim_state": low_dim_state(self._task)[rows],
        }

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _seg_depth(self, qpos: np.ndarray) -> np.ndarray:
        ids, depth = self._open_renderer().render(qpos)
        return seg_depth(ids, disparity_from_depth(depth), self._size)

    def _seg(self, qpos: np.ndarray) -> np.ndarray:
        return seg(self._open_renderer().render(qpos)[0], self._size)

    def _rgb(self, qpos: np.ndarray) -> np.ndarray:
        return rgb(self._open_renderer().render_rgb(qpos), self._size)

    def _open_renderer(self) -> Renderer:
        if self._renderer is None:
            raise RuntimeError("the environment is closed")
        return self._renderer


def observation_space(kind: str, image_size: int) -> spaces.Dict:
    """Space of one member's observation of `kind`."""
    numbers = len(STATE_NAMES if kind == "state" else PROPRIOCEPTION_NAMES)
    entries: dict[str, spaces.Space] = {
        "low_dim_state": spaces.Box(-np.inf, np.inf, (numbers,), np.float32)
    }
    if kind != "state":
        entries["rgb"] = spaces.Box(0, 255, (CHANNELS[kind], image_size, image_size), np.uint8)
    return spaces.Dict(entries)


def low_dim_state(task: LiftTask) -> np.ndarray:
    """The 18 numbers that the robot can measure too, (N, 18) float32."""
    tcp_pos, tcp_rot = task.kinematics.forward(task.joint_pos)
    return proprioception(task.joint_pos, task.joint_vel, tcp_pos, rpy(tcp_rot))


def state_observation(task: LiftTask) -> np.ndarray:
    """`low_dim_state` and the cube's position, (N, 21) float32."""
    return np.concatenate([low_dim_state(task), task.cube_pos], axis=1, dtype=np.float32)
