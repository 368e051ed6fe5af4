"""One environment of the original's design: a process with its own model and two renderers.

`original_design.py` starts it as `python _original_env.py FD SEED STEPS` and talks to it over the
connection FD: an action in, an observation out. MUJOCO_GL has to be set before mujoco is imported,
which is why this is a program of its own. It ends when the other end of the connection does.
"""

import signal
import sys
from collections import deque
from multiprocessing.connection import Connection
from typing import Any

import cv2
import mujoco
import numpy as np

from robobase.triton_first import load_triton
from so101_robobase.envs.observer import low_dim_state
from so101_robobase.sim.scene import WRIST_CAMERA, Scene
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask
from so101_robobase.vision.observation import ClassId, center_crop, scale_disparity

HEIGHT, WIDTH, SIZE, FRAME_STACK = 480, 640, 84, 3
Observation = dict[str, np.ndarray]


class TwoRenderers:
    """The wrist camera at 640x480 with full meshes, once for class ids and once for depth."""

    def __init__(self, scene: Scene):
        load_triton()
        self._data = mujoco.MjData(scene.model)
        self._model = scene.model
        # the last entry is what MuJoCo's -1, "no object", indexes
        self._class_of_geom = np.append(scene.class_of_geom_full, np.uint8(ClassId.BACKGROUND))
        self._options = mujoco.MjvOption()
        self._options.sitegroup[:] = 0
        self._segmentation = mujoco.Renderer(scene.model, HEIGHT, WIDTH)
        self._segmentation.enable_segmentation_rendering()
        self._depth = mujoco.Renderer(scene.model, HEIGHT, WIDTH)
        self._depth.enable_depth_rendering()

    def picture(self, qpos: np.ndarray) -> np.ndarray:
        """(13,) -> (2, 84, 84) uint8: class ids and disparity."""
        self._data.qpos = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        geoms, depth = (self._render(each) for each in (self._segmentation, self._depth))
        ids = self._class_of_geom[_resize(geoms[..., 0])]
        return np.stack([ids, scale_disparity(1 / _resize(depth))])

    def _render(self, renderer: mujoco.Renderer) -> np.ndarray:
        renderer.update_scene(self._data, WRIST_CAMERA, self._options)
        return renderer.render()


def _resize(image: np.ndarray) -> np.ndarray:
    square = np.ascontiguousarray(center_crop(image))
    return cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)


class OriginalEnv:
    """Observes and stacks frames after each control step; resets itself when an episode ends."""

    def __init__(self, seed: int, steps_taken: int):
        config = LiftConfig(action_repeat=1, on_success="terminate")
        self._task = LiftTask(config, num_envs=1, num_threads=1)
        self._task.seed([seed])
        self._renderers = TwoRenderers(self._task.sim.scene)
        self._frames: deque[Observation] = deque(maxlen=FRAME_STACK)
        self._first = self._reset()
        self._task.episode_steps[:] = steps_taken  # the first episode ends so much earlier

    def first(self) -> Observation:
        return self._first

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, Any]:
        """Stacked observation, reward, terminated, truncated, last observation of an episode."""
        result = self._task.step(action[None])
        self._frames.append(self._observe())
        observation, final = self._stacked(), None
        if result.terminated[0] or result.truncated[0]:
            final, observation = observation, self._reset()
        ends = bool(result.terminated[0]), bool(result.truncated[0])
        return observation, float(result.reward[0]), *ends, final

    def _reset(self) -> Observation:
        self._task.reset(np.array([0]))
        self._frames.extend([self._observe()] * FRAME_STACK)
        return self._stacked()

    def _observe(self) -> Observation:
        picture = self._renderers.picture(self._task.sim.qpos[0])
        return {"rgb": picture, "low_dim_state": low_dim_state(self._task)[0]}

    def _stacked(self) -> Observation:
        return {key: np.stack([frame[key] for frame in self._frames]) for key in self._frames[0]}


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process at the other end
    descriptor, seed, steps_taken = map(int, sys.argv[1:])
    with Connection(descriptor) as connection:
        env = OriginalEnv(seed, steps_taken)
        connection.send(env.first())
        while True:
            try:
                action = connection.recv()
            except (EOFError, ConnectionResetError):
                break
            connection.send(env.step(action))


if __name__ == "__main__":
    main()
