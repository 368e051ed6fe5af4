"""Pictures of the scene for people: virtual cameras around the table, and the wrist camera."""

from collections.abc import Iterable
from dataclasses import dataclass

import mujoco
import numpy as np

from robobase.errors import UserError
from so101_robobase.sim.gl_context import GLContext
from so101_robobase.sim.gl_renderer import fixed_camera
from so101_robobase.sim.scene import Scene


@dataclass(frozen=True)
class VirtualCamera:
    """Where a free camera stands; MuJoCo's azimuth and elevation, degrees."""

    distance: float  # m from the point it looks at
    azimuth: float  # direction of view in the table's plane: 90 looks along +y, 180 along -x
    elevation: float  # -90 looks straight down
    lookat: tuple[float, float, float] = (0.18, 0.0, 0.12)  # far enough to see a lifted arm


VIRTUAL_CAMERAS = {
    "topdown": VirtualCamera(distance=0.7, azimuth=0, elevation=-90),
    "side": VirtualCamera(distance=0.7, azimuth=90, elevation=-8),
    "front": VirtualCamera(distance=0.7, azimuth=180, elevation=-12),
    "iso": VirtualCamera(distance=0.7, azimuth=135, elevation=-28),
}
"""`front` faces the arm; `side` has the arm on the left, pointing right."""


class Views:
    """Draws pictures of `size` (height, width) pixels with OpenGL; raises GLUnavailableError.

    Full meshes unless `reduced`, which is about 15 times faster in software.
    """

    def __init__(self, scene: Scene, size: tuple[int, int], reduced: bool = False):
        if min(size) < 1:
            raise UserError(f"picture size {size[0]}x{size[1]} must be at least 1x1")
        self.size = size
        self._model = scene.render_model if reduced else scene.model
        self._data = mujoco.MjData(self._model)
        self._cameras = {name: _free(camera) for name, camera in VIRTUAL_CAMERAS.items()}
        for index in range(self._model.ncam):
            name = self._model.camera(index).name
            self._cameras[name] = fixed_camera(self._model, name)
        self._options = mujoco.MjvOption()
        self._options.sitegroup[:] = 0
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 16)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 1
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._context = GLContext(self._model, *size, shadows=1024, samples=4)

    @property
    def names(self) -> tuple[str, ...]:
        """Cameras that `render` knows."""
        return tuple(self._cameras)

    def render(self, qpos: np.ndarray, names: Iterable[str]) -> dict[str, np.ndarray]:
        """State (13,) -> a picture (H, W, 3) uint8 from each camera of `names`.

        Raises UserError for an unknown camera.
        """
        names = tuple(names)
        self.check(names)
        self._data.qpos = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._context.make_current()
        return {name: self._draw(self._cameras[name]) for name in names}

    def check(self, names: Iterable[str]) -> None:
        """Raise UserError unless every name is a camera."""
        unknown = [name for name in names if name not in self._cameras]
        if unknown:
            raise UserError(f"camera={unknown[0]!r} is unknown; known: {', '.join(self.names)}")

    def close(self) -> None:
        """Free the OpenGL context; closing twice is allowed."""
        self._context.close()

    def _draw(self, camera: mujoco.MjvCamera) -> np.ndarray:
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._options,
            None,
            camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        picture = np.empty((*self.size, 3), np.uint8)
        self._context.draw(self._scene, picture)
        return picture[::-1].copy()  # OpenGL's first row is the picture's last


def _free(camera: VirtualCamera) -> mujoco.MjvCamera:
    free = mujoco.MjvCamera()
    free.type = mujoco.mjtCamera.mjCAMERA_FREE
    free.distance = camera.distance
    free.azimuth = camera.azimuth
    free.elevation = camera.elevation
    free.lookat = camera.lookat
    return free
