"""The wrist camera of a simulated scene: frames as a USB camera gives them."""

import threading
import time
from collections.abc import Callable

import numpy as np

from so101_robobase.sim.renderer import Renderer, make_renderer
from so101_robobase.sim.scene import Scene

FRAME_SIZE = (640, 480)


class SceneCamera:
    """Shows a scene as it is whenever a picture is asked for.

    OpenGL belongs to one thread: the one that opens the camera, or asks first, must also do all
    the rest, `close` included; in any other these raise RuntimeError.

    Args:
        qpos: gives the state (13,) to be shown; called in the camera's thread.
        size: width and height of the frames, pixels.
        renderer: see `make_renderer`.
        now: the clock that frames are stamped with, s.

    Raises:
        UserError: `renderer` is "gl" and OpenGL does not start, or there are no colours without it.
    """

    def __init__(
        self,
        scene: Scene,
        qpos: Callable[[], np.ndarray],
        size: tuple[int, int] = FRAME_SIZE,
        renderer: str = "auto",
        now: Callable[[], float] = time.monotonic,
    ):
        self._scene, self._qpos, self._kind, self._now = scene, qpos, renderer, now
        self.width, self.height = size
        self._renderer: Renderer | None = None
        self._thread: int | None = None

    def open(self) -> None:
        """Take one frame, so that all that is slow about the first is done."""
        self.grab()

    def grab(self) -> tuple[float, np.ndarray]:
        """Time of exposure (s) and the frame (height, width, 3) uint8 BGR."""
        exposed, qpos = self._now(), np.asarray(self._qpos(), np.float64)[None]
        self._check_thread()
        if self._renderer is None:
            self._renderer = make_renderer(self._kind, self._scene, self.height, self.width)
        return exposed, np.ascontiguousarray(self._renderer.render_rgb(qpos)[0][..., ::-1])

    def close(self) -> None:
        """Free OpenGL; may be repeated."""
        if self._renderer is not None:
            self._check_thread()
            self._renderer.close()
        self._renderer = self._thread = None

    def _check_thread(self) -> None:
        current = threading.get_ident()
        self._thread = self._thread or current
        if self._thread != current:
            raise RuntimeError("a SceneCamera works in the thread that used it first, in no other")
