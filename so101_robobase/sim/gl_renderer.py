"""Wrist-camera pictures drawn with OpenGL: class ids and depth in one pass, or colours."""

from collections.abc import Sequence
from typing import Any

import cv2
import mujoco
import numpy as np

from robobase.errors import UserError
from so101_robobase.sim import camera_effects, distractors, dressing
from so101_robobase.sim.appearance import Look
from so101_robobase.sim.gl_context import GLContext, GLUnavailableError
from so101_robobase.sim.scene import CUBE, WRIST_CAMERA, Scene
from so101_robobase.vision.observation import ClassId

__all__ = ["GLRenderer", "GLUnavailableError"]

_SUPERSAMPLING = 2  # colour pictures are averaged from 2x2 samples a pixel, as a lens would

# Pictures with looks: in software GL, multisampling costs a little less than 2x2 pixels.
_LOOK_SAMPLES = 4
_SHADOW_SPAN = 0.5  # m
_SHADOW_PIXELS = 6  # of the shadow map per line of the picture
_MOST_SHADOW_PIXELS = 2048  # edges 0.5 mm fine


class GLRenderer:
    """Draws `scene.render_model` from a named camera; see `so101_robobase.sim.renderer`.

    Colours have lights and textures; shadows with looks only. The picture of a row depends on that
    row, its look and its cube alone, so the same `qpos` gives the same bits in a batch of any size.
    Raises UserError for a bad size or an unknown camera, and GLUnavailableError where OpenGL does
    not start.
    """

    def __init__(self, scene: Scene, height: int, width: int, camera: str = WRIST_CAMERA):
        if height < 1 or width < 1:
            raise UserError(f"picture size {height}x{width} must be at least 1x1")
        self._model = scene.render_model
        self._data = mujoco.MjData(self._model)
        self._height, self._width = height, width
        self._camera = fixed_camera(self._model, camera)
        self._fovy = float(self._model.cam_fovy[self._camera.fixedcamid])
        self._cube = self._model.geom(CUBE).id
        self._cube_half_size = float(self._model.geom_size[self._cube, 0])
        self._options = mujoco.MjvOption()
        self._options.flags[:] = 0
        self._options.flags[mujoco.mjtVisFlag.mjVIS_STATIC] = 1
        self._options.flags[mujoco.mjtVisFlag.mjVIS_TEXTURE] = 1
        self._options.sitegroup[:] = 0
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 1 + distractors.MOST)
        self._scene.flags[:] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = 1
        self._context = GLContext(self._model, height, width)
        self._rgb_context: GLContext | None = None
        self._look_context: GLContext | None = None
        self._dressing: dressing.Dressing | None = None
        self._class_of_segment = self._segment_classes(scene.class_of_geom)
        self._source = scene
        near, far = (
            plane * self._model.stat.extent
            for plane in (self._model.vis.map.znear, self._model.vis.map.zfar)
        )
        self._depth_offset, self._depth_scale = near / (far - near), near * far / (far - near)

    def render(
        self,
        qpos: np.ndarray,
        looks: Sequence[Look] | None = None,
        cube_half_size: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N, J + 7) -> class ids (N, H, W) uint8, perpendicular depth (N, H, W) float32.

        Depth is in metres from the camera's plane, inf where nothing is seen.
        """
        rgb = np.empty((len(qpos), self._height, self._width, 3), np.uint8)
        depth = np.empty(rgb.shape[:-1], np.float32)
        self._set_segmentation(True)
        self._context.make_current()
        for index, row in enumerate(qpos):
            self._place(row, _entry(looks, index), _entry(cube_half_size, index))
            self._context.draw(self._scene, rgb[index], depth[index])
        # OpenGL's first row is the picture's last.
        ids = self._class_of_segment[rgb[:, ::-1, :, 0]]
        depth = self._depth_scale / (depth[:, ::-1] + np.float32(self._depth_offset))
        depth[ids == ClassId.BACKGROUND] = np.inf
        for index, look in enumerate(looks or ()):
            for picture in (ids, depth):
                picture[index] = camera_effects.distort(
                    picture[index], look.lens_distortion, smooth=False
                )
        return ids, depth

    def render_rgb(
        self,
        qpos: np.ndarray,
        looks: Sequence[Look] | None = None,
        cube_half_size: np.ndarray | None = None,
    ) -> np.ndarray:
        """(N, J + 7) -> colours (N, H, W, 3) uint8."""
        pictures = np.empty((len(qpos), self._height, self._width, 3), np.uint8)
        self._set_segmentation(False)
        if looks is None:
            self._draw_plainly(qpos, cube_half_size, pictures)
        else:
            self._draw_looks(qpos, looks, cube_half_size, pictures)
        return pictures

    def _draw_plainly(
        self, qpos: np.ndarray, cube_half_size: np.ndarray | None, pictures: np.ndarray
    ) -> None:
        height, width = _SUPERSAMPLING * self._height, _SUPERSAMPLING * self._width
        if self._rgb_context is None:
            self._rgb_context = GLContext(self._model, height, width)
        rgb = np.empty((height, width, 3), np.uint8)
        self._rgb_context.make_current()
        for index, row in enumerate(qpos):
            self._place(row, None, _entry(cube_half_size, index))
            self._rgb_context.draw(self._scene, rgb)
            cv2.resize(
                rgb[::-1],
                (self._width, self._height),
                dst=pictures[index],
                interpolation=cv2.INTER_AREA,
            )

    def _draw_looks(
        self,
        qpos: np.ndarray,
        looks: Sequence[Look],
        cube_half_size: np.ndarray | None,
        pictures: np.ndarray,
    ) -> None:
        if self._look_context is None or self._dressing is None:
            self._look_context = GLContext(
                self._model,
                self._height,
                self._width,
                shadows=min(_SHADOW_PIXELS * self._height, _MOST_SHADOW_PIXELS),
                samples=_LOOK_SAMPLES,
                shadow_span=_SHADOW_SPAN,
            )
            self._dressing = dressing.Dressing(
                self._model, self._source.class_of_geom, self._source.arm, self._look_context
            )
        rgb = np.empty((self._height, self._width, 3), np.uint8)
        self._look_context.make_current()
        for index, (row, look) in enumerate(zip(qpos, looks, strict=True)):
            self._place(row, look, _entry(cube_half_size, index))
            self._dressing.apply(self._scene, look)
            self._look_context.draw(self._scene, rgb)
            upright = np.ascontiguousarray(rgb[::-1])
            seen = camera_effects.distort(upright, look.lens_distortion, smooth=True)
            pictures[index] = camera_effects.photographed(seen, look, row)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0

    def close(self) -> None:
        """Free the OpenGL contexts; closing twice is allowed."""
        self._context.close()
        for context in (self._rgb_context, self._look_context):
            if context is not None:
                context.close()

    def _set_segmentation(self, on: bool) -> None:
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = on
        self._scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = on
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = not on

    def _place(
        self, qpos: np.ndarray, look: Look | None = None, cube_half_size: float | None = None
    ) -> None:
        self._data.qpos = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        if look is not None:
            dressing.move_camera(self._data, self._camera.fixedcamid, look)
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._options,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        if cube_half_size is not None:
            dressing.resize_cube(self._scene, self._cube, cube_half_size)
        if look is not None:
            dressing.widen_view(self._scene, self._view_factor(look))
            half_size = self._cube_half_size if cube_half_size is None else cube_half_size
            things = distractors.place(look.distractors, qpos[self._source.cube_pos], half_size)
            dressing.add_distractors(self._scene, things, look.gloss)

    def _view_factor(self, look: Look) -> float:
        """What is drawn, against what the scene's camera sees."""
        half_angles = np.radians([self._fovy, self._fovy + look.camera_fovy]) / 2
        plain, wide = np.tan(half_angles)
        return wide / plain * camera_effects.margin(look.lens_distortion, self._height, self._width)

    def _segment_classes(self, class_of_geom: np.ndarray) -> np.ndarray:
        """(256,) class id for the red byte of MuJoCo's segment colours: 0 nothing, geom k: k+1."""
        self._place(self._model.qpos0)
        classes = np.full(256, ClassId.UNLABELED, np.uint8)  # distractors
        classes[0] = ClassId.BACKGROUND
        drawn = self._scene.geoms[: self._scene.ngeom]
        most = 255 - distractors.MOST
        if len(drawn) > most:
            raise UserError(f"the scene draws {len(drawn)} geoms; at most {most} can be told apart")
        for geom in drawn:
            classes[geom.segid + 1] = class_of_geom[geom.objid]
        return classes


def _entry(values: Any, index: int) -> Any:
    return None if values is None else values[index]


def fixed_camera(model: mujoco.MjModel, name: str) -> mujoco.MjvCamera:
    """The camera `name` of `model`, for drawing. Raises UserError if there is none."""
    known = [model.camera(index).name for index in range(model.ncam)]
    if name not in known:
        raise UserError(f"camera={name!r} is unknown; known: {', '.join(known)}")
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = model.camera(name).id
    return camera
