"""Wrist-camera pictures by casting one ray per pixel: no OpenGL, the same bits anywhere."""

import os
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np

from robobase.errors import UserError
from so101_robobase.observation import ClassId
from so101_robobase.sim.scene import WRIST_CAMERA, Scene


class RayRenderer:
    """Casts rays through the pixel centres of a pinhole camera into `scene.render_model`.

    Frames of a batch are shared out over `num_threads` (default: every usable core). Raises
    UserError for a bad size or an unknown camera.
    """

    def __init__(
        self,
        scene: Scene,
        height: int,
        width: int,
        camera: str = WRIST_CAMERA,
        num_threads: int | None = None,
    ):
        if height < 1 or width < 1:
            raise UserError(f"picture size {height}x{width} must be at least 1x1")
        model = self._model = scene.render_model
        known = [model.camera(index).name for index in range(model.ncam)]
        if camera not in known:
            raise UserError(f"camera={camera!r} is unknown; known: {', '.join(known)}")
        self._camera = model.camera(camera).id
        self._rays = _pinhole_rays(height, width, float(model.cam_fovy[self._camera]))
        # Index -1, a miss, reads the last entry.
        self._class_of_hit = np.append(scene.class_of_geom, np.uint8(ClassId.BACKGROUND))
        self._num_threads = num_threads or len(os.sched_getaffinity(0))
        self._data = [mujoco.MjData(model) for _ in range(self._num_threads)]
        self._pool = ThreadPoolExecutor(self._num_threads)

    def render(self, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 13) -> class ids (N, H, W) uint8, perpendicular depth (N, H, W) float32.

        Depth is in metres from the camera's plane, inf where nothing is hit.
        """
        shape = (len(qpos), *self._rays.shape[:2])
        ids, depth = np.empty(shape, np.uint8), np.empty(shape, np.float32)

        def cast_share(thread: int) -> None:
            for row in range(thread, len(qpos), self._num_threads):
                ids[row], depth[row] = self._cast(self._data[thread], qpos[row])

        list(self._pool.map(cast_share, range(min(self._num_threads, len(qpos)))))
        return ids, depth

    def render_rgb(self, qpos: np.ndarray) -> np.ndarray:
        """Rays carry no colours: always UserError."""
        raise UserError(
            "the ray renderer has no colours; use renderer=gl (sudo apt-get install libegl1 "
            "libgl1) or observation=seg_depth"
        )

    def close(self) -> None:
        """End the threads; closing twice is allowed."""
        self._pool.shutdown()

    def _cast(self, data: mujoco.MjData, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        data.qpos = qpos
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_camlight(self._model, data)
        height, width, _ = self._rays.shape
        rays = self._rays @ data.cam_xmat[self._camera].reshape(3, 3).T
        hit = np.empty(height * width, np.int32)
        distance = np.empty(height * width)
        mujoco.mj_multiRay(
            self._model,
            data,
            data.cam_xpos[self._camera],
            rays.ravel(),
            None,  # every geom group
            True,  # static geoms too
            -1,  # no body excluded
            hit,
            distance,
            None,  # no normals
            height * width,
            mujoco.mjMAXVAL,
        )
        distance[hit < 0] = np.inf
        return (
            self._class_of_hit[hit].reshape(height, width),
            distance.reshape(height, width).astype(np.float32),
        )


def _pinhole_rays(height: int, width: int, fovy: float) -> np.ndarray:
    """(H, W, 3) directions through pixel centres in the camera's frame, each with z = -1.

    MuJoCo measures a hit in lengths of its ray; with z = -1 that is the perpendicular depth.
    """
    pixel = 2 * np.tan(np.radians(fovy) / 2) / height
    x = (np.arange(width) + 0.5 - width / 2) * pixel
    y = (height / 2 - 0.5 - np.arange(height)) * pixel
    x, y = np.meshgrid(x, y)
    return np.stack([x, y, -np.ones_like(x)], axis=-1)
