"""An off-screen OpenGL context and MuJoCo's drawing context in it, for any model."""

import atexit
import functools
import importlib
import os
import platform
import weakref
from typing import Any

import mujoco
import numpy as np

from robobase.errors import UserError
from robobase.triton_first import load_triton

# Mesa's software rasteriser: at 84x84 handing tiles to threads costs more than it saves
# (benchmarks/render_throughput.py), and processes that train in parallel do not fight for cores.
os.environ.setdefault("LP_NUM_THREADS", "0")


class GLUnavailableError(UserError):
    """OpenGL cannot be started here; the message names what to install."""


class GLContext:
    """Draws scenes of `model` into an off-screen buffer of `height` x `width` pixels.

    `samples` per pixel smooth edges (0: none). `shadows` is the edge of the shadow map in pixels
    (0: none), which spans `shadow_span` metres to either side of a parallel light's axis (None:
    as the model says). Raises GLUnavailableError.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        height: int,
        width: int,
        shadows: int = 0,
        samples: int = 0,
        shadow_span: float | None = None,
    ):
        quality = model.vis.quality  # read by MuJoCo when the context is made
        quality.offsamples = samples
        quality.shadowsize = shadows
        self._gl: Any = None  # what `close` reads if starting fails
        self._gl, self._mjr = _start(model, height, width)
        _open.add(self)
        if shadow_span is not None:
            self._mjr.shadowClip = shadow_span
        self._rect = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._mjr)
        mujoco.mjr_resizeOffscreen(width, height, self._mjr)
        self._mjr.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR

    def make_current(self) -> None:
        """Must come before `draw`: other contexts and threads may have drawn in between."""
        self._gl.make_current()

    def draw(
        self, scene: mujoco.MjvScene, rgb: np.ndarray, depth: np.ndarray | None = None
    ) -> None:
        """Draw and read back: rgb (H, W, 3) uint8, depth (H, W) float32; bottom row first.

        `depth` is MuJoCo's reversed buffer: 1 on the near plane, 0 on the far one.
        """
        mujoco.mjr_render(self._rect, scene, self._mjr)
        mujoco.mjr_readPixels(rgb, depth, self._rect, self._mjr)

    def upload_texture(self, model: mujoco.MjModel, texture: int) -> None:
        """Replace texture number `texture` by that of `model`; this context must be current."""
        mujoco.mjr_uploadTexture(model, self._mjr, texture)

    def close(self) -> None:
        """Free the context; closing twice is allowed."""
        if self._gl is None:
            return
        self._gl.make_current()
        self._mjr.free()
        self._gl.free()
        self._gl = None
        _open.discard(self)

    def abandon(self) -> None:
        """Leave the context to the end of the process, where `close` is not possible."""
        self._gl = None
        _open.discard(self)

    def __del__(self) -> None:
        # Left to itself, MuJoCo's context would free its names in whichever context is current.
        self.close()


_open: weakref.WeakSet[GLContext] = weakref.WeakSet()


@functools.cache
def _close_at_exit() -> None:
    # Registered after the platform's own exit handler, so that it runs before it.
    atexit.register(_close_all)


def _close_all() -> None:
    for context in list(_open):
        try:
            context.close()
        except Exception:  # current in a thread that has not closed it, and perhaps still draws
            context.abandon()


def _start(model: mujoco.MjModel, height: int, width: int):
    backend = _backend()
    load_triton()
    try:
        gl = _context_class(backend)(width, height)
        gl.make_current()
        _close_at_exit()
        return gl, mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    # A missing library shows as ImportError, AttributeError, OSError or FatalError,
    # depending on which of the layers below notices it.
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        if isinstance(error, AttributeError | ImportError):
            reason = "its library is missing"
        raise GLUnavailableError(
            f"OpenGL ({backend}) does not start ({reason}); {_remedy(backend)}"
        ) from error


def _backend() -> str:
    """MUJOCO_GL if it is set, else "egl" on Linux, else the platform's own."""
    chosen = os.environ.get("MUJOCO_GL", "").lower().strip()
    if chosen in ("disable", "disabled", "off", "false", "0"):
        raise GLUnavailableError(f"MUJOCO_GL={chosen} switches OpenGL off; unset it")
    if chosen:
        return chosen
    return "egl" if platform.system() == "Linux" else platform.system()


def _context_class(backend: str):
    if backend in ("egl", "osmesa"):
        return importlib.import_module(f"mujoco.{backend}").GLContext
    return mujoco.GLContext


def _remedy(backend: str) -> str:
    if backend == "egl":
        return "for the fast renderer: sudo apt-get install libegl1 libgl1"
    if backend == "osmesa":
        return "for the fast renderer: sudo apt-get install libosmesa6"
    return "for the fast renderer unset MUJOCO_GL or set it to egl"
