"""The wrist camera of a simulated scene: frames as a USB camera gives them, and their truth."""

import threading
import time
from collections.abc import Callable

import numpy as np

from so101_robobase.sim.appearance import Look
from so101_robobase.sim.renderer import Renderer, make_renderer
from so101_robobase.sim.scene import Scene
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.vision.observation import IMAGE_SIZE, disparity_from_depth

FRAME_SIZE = (640, 480)


class SceneCamera:
    """Shows a scene as it is whenever a picture is asked for.

    OpenGL belongs to one thread: the one that opens the camera, or asks first, must also do all
    the rest, `close` included; in any other these raise RuntimeError.

    Args:
        scene: what to look at; of a task, its renderer and its picture size count too.
        qpos: gives the state (13,) to be shown; called in the camera's thread.
        size: width and height of the frames, pixels.
        look: gives the looks of the scene, where they vary.
        now: the clock that frames are stamped with, s.

    Raises:
        UserError: `renderer` is "gl" and OpenGL does not start, or there are no colours without it.
    """

    def __init__(
        self,
        scene: Scene | TaskConfig,
        qpos: Callable[[], np.ndarray],
        size: tuple[int, int] = FRAME_SIZE,
        look: Callable[[], Look] | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        if isinstance(scene, TaskConfig):
            self._kind, self._picture_size = scene.renderer, scene.image_size
            scene = scene.build_scene()
        else:
            self._kind, self._picture_size = "auto", IMAGE_SIZE
        self._scene, self._qpos, self._look, self._now = scene, qpos, look, now
        self.width, self.height = size
        self._renderers: dict[tuple[int, int], Renderer] = {}
        self._thread: int | None = None

    def open(self) -> None:
        """Take one frame, so that all that is slow about the first is done."""
        self.grab()

    def grab(self) -> tuple[float, np.ndarray]:
        """Time of exposure (s) and the frame (height, width, 3) uint8 BGR."""
        exposed, qpos, looks = self._exposed()
        rgb = self._renderer(self.height, self.width).render_rgb(qpos, looks)[0]
        return exposed, np.ascontiguousarray(rgb[..., ::-1])

    def ids_and_disparity(self) -> tuple[np.ndarray, np.ndarray]:
        """Class ids (S, S) uint8 and disparity (S, S) float32 of the frame's centre square.

        S is the size of the policy's pictures; these are the very pictures of the simulation.
        """
        _, qpos, looks = self._exposed()
        size = self._picture_size
        ids, depth = self._renderer(size, size).render(qpos, looks)
        return ids[0], disparity_from_depth(depth[0])

    def close(self) -> None:
        """Free OpenGL; may be repeated."""
        if self._renderers:
            self._check_thread()
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
        self._thread = None

    def _exposed(self) -> tuple[float, np.ndarray, list[Look] | None]:
        looks = None if self._look is None else [self._look()]
        return self._now(), np.asarray(self._qpos(), np.float64)[None], looks

    def _renderer(self, height: int, width: int) -> Renderer:
        self._check_thread()
        if (height, width) not in self._renderers:
            self._renderers[height, width] = make_renderer(self._kind, self._scene, height, width)
        return self._renderers[height, width]

    def _check_thread(self) -> None:
        current = threading.get_ident()
        self._thread = self._thread or current
        if self._thread != current:
            raise RuntimeError("a SceneCamera works in the thread that used it first, in no other")
