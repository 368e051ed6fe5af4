"""Wrist-camera pictures drawn with OpenGL: class ids and depth in one pass, or colours."""

import cv2
import mujoco
import numpy as np

from robobase.errors import UserError
from so101_robobase.observation import ClassId
from so101_robobase.sim.gl_context import GLContext, GLUnavailableError
from so101_robobase.sim.scene import WRIST_CAMERA, Scene

__all__ = ["GLRenderer", "GLUnavailableError"]

_SUPERSAMPLING = 2  # colour pictures are averaged from 2x2 samples a pixel, as a lens would


class GLRenderer:
    """Draws `scene.render_model` from a named camera; see `so101_robobase.sim.renderer`.

    The picture of a row depends on that row alone, so the same `qpos` gives the same bits in a
    batch of any size. Raises UserError for a bad size or an unknown camera, and
    GLUnavailableError where OpenGL does not start.
    """

    def __init__(self, scene: Scene, height: int, width: int, camera: str = WRIST_CAMERA):
        if height < 1 or width < 1:
            raise UserError(f"picture size {height}x{width} must be at least 1x1")
        self._model = scene.render_model
        self._data = mujoco.MjData(self._model)
        self._height, self._width = height, width
        self._camera = fixed_camera(self._model, camera)
        self._options = mujoco.MjvOption()
        self._options.flags[:] = 0
        self._options.flags[mujoco.mjtVisFlag.mjVIS_STATIC] = 1
        self._options.flags[mujoco.mjtVisFlag.mjVIS_TEXTURE] = 1
        self._options.sitegroup[:] = 0
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 1)
        self._scene.flags[:] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = 1
        self._context = GLContext(self._model, height, width)
        self._rgb_context: GLContext | None = None
        self._class_of_segment = self._segment_classes(scene.class_of_geom)
        near, far = (
            plane * self._model.stat.extent
            for plane in (self._model.vis.map.znear, self._model.vis.map.zfar)
        )
        self._depth_offset, self._depth_scale = near / (far - near), near * far / (far - near)

    def render(self, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 13) -> class ids (N, H, W) uint8, perpendicular depth (N, H, W) float32.

        Depth is in metres from the camera's plane, inf where nothing is seen.
        """
        rgb = np.empty((len(qpos), self._height, self._width, 3), np.uint8)
        depth = np.empty(rgb.shape[:-1], np.float32)
        self._set_segmentation(True)
        self._context.make_current()
        for index, row in enumerate(qpos):
            self._place(row)
            self._context.draw(self._scene, rgb[index], depth[index])
        # OpenGL's first row is the picture's last.
        ids = self._class_of_segment[rgb[:, ::-1, :, 0]]
        depth = self._depth_scale / (depth[:, ::-1] + np.float32(self._depth_offset))
        depth[ids == ClassId.BACKGROUND] = np.inf
        return ids, depth

    def render_rgb(self, qpos: np.ndarray) -> np.ndarray:
        """(N, 13) -> colours (N, H, W, 3) uint8, with lights and textures, without shadows."""
        height, width = _SUPERSAMPLING * self._height, _SUPERSAMPLING * self._width
        if self._rgb_context is None:
            self._rgb_context = GLContext(self._model, height, width)
        rgb = np.empty((height, width, 3), np.uint8)
        pictures = np.empty((len(qpos), self._height, self._width, 3), np.uint8)
        self._set_segmentation(False)
        self._rgb_context.make_current()
        for picture, row in zip(pictures, qpos, strict=True):
            self._place(row)
            self._rgb_context.draw(self._scene, rgb)
            cv2.resize(
                rgb[::-1], (self._width, self._height), dst=picture, interpolation=cv2.INTER_AREA
            )
        return pictures

    def close(self) -> None:
        """Free the OpenGL contexts; closing twice is allowed."""
        self._context.close()
        if self._rgb_context is not None:
            self._rgb_context.close()

    def _set_segmentation(self, on: bool) -> None:
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = on
        self._scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = on
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = not on

    def _place(self, qpos: np.ndarray) -> None:
        self._data.qpos = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._options,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )

    def _segment_classes(self, class_of_geom: np.ndarray) -> np.ndarray:
        """(256,) class id for the red byte of MuJoCo's segment colours: 0 nothing, geom k: k+1."""
        self._place(self._model.qpos0)
        classes = np.full(256, ClassId.BACKGROUND, np.uint8)
        drawn = self._scene.geoms[: self._scene.ngeom]
        if len(drawn) > 255:
            raise UserError(f"the scene draws {len(drawn)} geoms; at most 255 can be told apart")
        for geom in drawn:
            classes[geom.segid + 1] = class_of_geom[geom.objid]
        return classes


def fixed_camera(model: mujoco.MjModel, name: str) -> mujoco.MjvCamera:
    """The camera `name` of `model`, for drawing. Raises UserError if there is none."""
    known = [model.camera(index).name for index in range(model.ncam)]
    if name not in known:
        raise UserError(f"camera={name!r} is unknown; known: {', '.join(known)}")
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = model.camera(name).id
    return camera
