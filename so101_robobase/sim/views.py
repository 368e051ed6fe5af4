"""Pictures of the scene for people: virtual cameras around the table, and the wrist camera."""

from collections.abc import Iterable
from dataclasses import dataclass

import mujoco
import numpy as np

from robobase.errors import UserError
from so101_robobase.sim import distractors, dressing
from so101_robobase.sim.appearance import Look
from so101_robobase.sim.gl_context import GLContext
from so101_robobase.sim.gl_renderer import GLRenderer, fixed_camera
from so101_robobase.sim.scene import CUBE, Scene


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


def camera_names(scene: Scene) -> tuple[str, ...]:
    """Cameras that `Views` of `scene` know."""
    model = scene.model
    return (*VIRTUAL_CAMERAS, *(model.camera(index).name for index in range(model.ncam)))


def check_cameras(scene: Scene, names: Iterable[str]) -> None:
    """Raise UserError unless every name is a camera; needs no OpenGL."""
    known = camera_names(scene)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"camera={unknown[0]!r} is unknown; known: {', '.join(known)}")


class Views:
    """Draws pictures of `size` (height, width) pixels with OpenGL; raises GLUnavailableError.

    An episode's `look` (None: the scene as it is) and half its cube's edge, `cube_half_size` in m
    (None: the scene's), are in every picture; what lens and sensor do is in those of `wrist` alone.

    Full meshes unless `reduced`, which is about 15 times faster in software.
    """

    def __init__(self, scene: Scene, size: tuple[int, int], reduced: bool = False):
        if min(size) < 1:
            raise UserError(f"picture size {size[0]}x{size[1]} must be at least 1x1")
        self.size = size
        self._source = scene
        self._model = scene.render_model if reduced else scene.model
        self._data = mujoco.MjData(self._model)
        self._cameras = {name: _free(camera) for name, camera in VIRTUAL_CAMERAS.items()}
        for index in range(self._model.ncam):
            name = self._model.camera(index).name
            self._cameras[name] = fixed_camera(self._model, name)
        self._cube = self._model.geom(CUBE).id
        self._options = mujoco.MjvOption()
        self._options.sitegroup[:] = 0
        room = self._model.ngeom + 16 + distractors.MOST
        self._scene = mujoco.MjvScene(self._model, maxgeom=room)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._context = GLContext(self._model, *size, shadows=1024, samples=4)
        classes = scene.class_of_geom if reduced else scene.class_of_geom_full
        self._dressing = dressing.Dressing(self._model, classes, scene.arm, self._context)
        self._wrist: GLRenderer | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Cameras that `render` knows."""
        return tuple(self._cameras)

    def render(
        self,
        qpos: np.ndarray,
        names: Iterable[str],
        look: Look | None = None,
        cube_half_size: float | None = None,
    ) -> dict[str, np.ndarray]:
        """State (J + 7,) -> a picture (H, W, 3) uint8 from each camera of `names`.

        Raises UserError for an unknown camera.
        """
        names = tuple(names)
        check_cameras(self._source, names)
        self._data.qpos = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        if look is not None:
            for camera in range(self._model.ncam):
                dressing.move_camera(self._data, camera, look)
        self._context.make_current()
        return {name: self._draw(self._cameras[name], look, cube_half_size) for name in names}

    def wrist(
        self, qpos: np.ndarray, look: Look | None = None, cube_half_size: float | None = None
    ) -> np.ndarray:
        """State (J + 7,) -> what the wrist camera sees of it, in colours, (S, S, 3) uint8.

        S is the smaller edge of `size`; the picture is the centre square that a policy sees too.
        """
        if self._wrist is None:
            self._wrist = GLRenderer(self._source, min(self.size), min(self.size))
        half_size = None if cube_half_size is None else np.array([cube_half_size])
        return self._wrist.render_rgb(qpos[None], None if look is None else [look], half_size)[0]

    def close(self) -> None:
        """Free the OpenGL contexts; closing twice is allowed."""
        self._context.close()
        if self._wrist is not None:
            self._wrist.close()
            self._wrist = None

    def _draw(
        self, camera: mujoco.MjvCamera, look: Look | None, cube_half_size: float | None
    ) -> np.ndarray:
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._options,
            None,
            camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        if cube_half_size is not None:
            dressing.resize_cube(self._scene, self._cube, cube_half_size)
        if look is not None:
            half_size = float(self._model.geom_size[self._cube, 0])
            half_size = half_size if cube_half_size is None else cube_half_size
            cube = self._data.qpos[self._source.cube_pos]
            things = distractors.place(look.distractors, cube, half_size)
            dressing.add_distractors(self._scene, things, look.gloss)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = (
            1  # off where no lamp of a look casts any
        )
        self._dressing.apply(self._scene, look)
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
