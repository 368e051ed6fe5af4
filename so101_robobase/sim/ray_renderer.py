"""Wrist-camera pictures by casting one ray per pixel: no OpenGL, the same bits anywhere."""

import copy
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np

from robobase.errors import UserError
from so101_robobase.sim import camera_effects, distractors, dressing
from so101_robobase.sim.appearance import NEUTRAL, Look
from so101_robobase.sim.rays import cast_rays
from so101_robobase.sim.scene import CUBE, WRIST_CAMERA, Scene
from so101_robobase.vision.observation import ClassId


class RayRenderer:
    """Casts rays through the pixel centres of a pinhole camera into `scene.render_model`.

    Frames of a batch are shared out over all usable cores. Raises UserError for a bad size or an
    unknown camera.
    """

    def __init__(self, scene: Scene, height: int, width: int, camera: str = WRIST_CAMERA):
        if height < 1 or width < 1:
            raise UserError(f"picture size {height}x{width} must be at least 1x1")
        model = scene.render_model
        known = [model.camera(index).name for index in range(model.ncam)]
        if camera not in known:
            raise UserError(f"camera={camera!r} is unknown; known: {', '.join(known)}")
        self._camera = model.camera(camera).id
        self._height, self._width = height, width
        self._fovy = float(model.cam_fovy[self._camera])
        self._rays = _pinhole_rays(height, width, self._fovy, 0.0)
        # Index -1, a miss, reads the last entry.
        self._class_of_hit = np.append(scene.class_of_geom, np.uint8(ClassId.BACKGROUND))
        self._num_threads = len(os.sched_getaffinity(0))
        self._casters = [_Caster(scene, self._camera) for _ in range(self._num_threads)]
        self._pool = ThreadPoolExecutor(self._num_threads)

    def render(
        self,
        qpos: np.ndarray,
        looks: Sequence[Look] | None = None,
        cube_half_size: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N, J + 7) -> class ids (N, H, W) uint8, perpendicular depth (N, H, W) float32.

        Depth is in metres from the camera's plane, inf where nothing is hit.
        """
        shape = (len(qpos), self._height, self._width)
        ids, depth = np.empty(shape, np.uint8), np.empty(shape, np.float32)

        def cast_share(thread: int) -> None:
            for row in range(thread, len(qpos), self._num_threads):
                look = NEUTRAL if looks is None else looks[row]
                half_size = None if cube_half_size is None else cube_half_size[row]
                hit, distance = self._casters[thread].cast(
                    self._rays_of(look), qpos[row], look, half_size
                )
                ids[row] = self._class_of_hit[hit]
                ids[row][hit == _DISTRACTOR] = ClassId.UNLABELED
                depth[row] = distance

        list(self._pool.map(cast_share, range(min(self._num_threads, len(qpos)))))
        return ids, depth

    def render_rgb(
        self,
        qpos: np.ndarray,
        looks: Sequence[Look] | None = None,
        cube_half_size: np.ndarray | None = None,
    ) -> np.ndarray:
        """Rays carry no colours: always UserError."""
        raise UserError(
            "the ray renderer has no colours; use renderer=gl (sudo apt-get install libegl1 "
            "libgl1) or observation=seg_depth"
        )

    def close(self) -> None:
        """End the threads; closing twice is allowed."""
        self._pool.shutdown()

    def _rays_of(self, look: Look) -> np.ndarray:
        if look.camera_fovy == 0 and look.lens_distortion == 0:
            return self._rays
        fovy = self._fovy + look.camera_fovy
        return _pinhole_rays(self._height, self._width, fovy, look.lens_distortion)


_DISTRACTOR = -2  # in place of a geom of the model


class _Caster:
    """Casts the rays of one picture at a time, into a model of its own: the cube's size varies."""

    def __init__(self, scene: Scene, camera: int):
        model = scene.render_model
        self._cube_pos = scene.cube_pos
        self._model = copy.copy(model)
        self._data = mujoco.MjData(self._model)
        self._camera = camera
        self._cube = model.geom(CUBE).id
        self._cube_half_size = float(model.geom_size[self._cube, 0])
        self._distractors = distractors.DistractorRays()

    def cast(
        self, rays: np.ndarray, qpos: np.ndarray, look: Look, cube_half_size: float | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """`rays` (H, W, 3) in the camera's frame -> geom or negative (H, W), distance (H, W)."""
        model, data = self._model, self._data
        half_size = self._cube_half_size if cube_half_size is None else cube_half_size
        self._resize_cube(half_size)
        data.qpos = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        dressing.move_camera(data, self._camera, look)
        height, width, _ = rays.shape
        rays = (rays @ data.cam_xmat[self._camera].reshape(3, 3).T).reshape(-1, 3)
        hit, distance = cast_rays(model, data, data.cam_xpos[self._camera], rays)
        things = distractors.place(look.distractors, qpos[self._cube_pos], half_size)
        if things:
            to_thing = self._distractors.cast(things, data.cam_xpos[self._camera], rays)
            nearer = to_thing < distance
            hit[nearer] = _DISTRACTOR
            distance[nearer] = to_thing[nearer]
        return hit.reshape(height, width), distance.reshape(height, width)

    def _resize_cube(self, half_size: float) -> None:
        self._model.geom_size[self._cube] = half_size
        self._model.geom_rbound[self._cube] = np.sqrt(3) * half_size
        self._model.geom_aabb[self._cube, 3:] = half_size


def _pinhole_rays(height: int, width: int, fovy: float, k1: float) -> np.ndarray:
    """(H, W, 3) directions through pixel centres in the camera's frame, each with z = -1.

    MuJoCo measures a hit in lengths of its ray; with z = -1 that is the perpendicular depth.
    """
    half = np.tan(np.radians(fovy) / 2)
    pixel = 2 * half / height
    x = (np.arange(width) + 0.5 - width / 2) * pixel
    y = (height / 2 - 0.5 - np.arange(height)) * pixel
    x, y = np.meshgrid(x, y)
    x, y = camera_effects.distorted(x, y, k1 / half**2)
    return np.stack([x, y, -np.ones_like(x)], axis=-1)
