"""Puts a `Look` on a `MjvScene` that MuJoCo has just filled: camera, lights, colours, textures."""

from collections.abc import Callable, Sequence

import mujoco
import numpy as np

from so101_robobase.arm.model import ArmModel
from so101_robobase.sim.appearance import LAMP_TARGET, Light, Look, Surface
from so101_robobase.sim.distractors import PlacedGeom
from so101_robobase.sim.gl_context import GLContext
from so101_robobase.sim.patterns import (
    BACKGROUND_PIXELS,
    TABLE_PIXELS,
    background_picture,
    table_picture,
)
from so101_robobase.sim.scene import CUBE, SKY, TABLE
from so101_robobase.vision.observation import ClassId

_SPECULAR = (0.3, 0.3, 0.3)  # of a lamp; what shines is the gloss of the surface
_DARK = 0.3  # parts of the arm below this brightness are servos, not printed
_SPOT_CUTOFF = 60.0  # degrees from a lamp's axis
_SPOT_EXPONENT = 8.0  # how fast a spot fades away from its axis


def rotation(euler: Sequence[float]) -> np.ndarray:
    """(3, 3) of rotations about x, then the new y, then the new z, rad: MJCF's order."""
    quaternion, matrix = np.empty(4), np.empty(9)
    mujoco.mju_euler2Quat(quaternion, np.array(euler, np.float64), "xyz")
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)


def move_camera(data: mujoco.MjData, camera: int, look: Look) -> None:
    """Change the pose of `camera` in `data`, whose kinematics are fresh, by that of `look`."""
    frame = data.cam_xmat[camera].reshape(3, 3)
    data.cam_xpos[camera] += frame @ np.array(look.camera_position)
    data.cam_xmat[camera] = (frame @ rotation(look.camera_rotation)).ravel()


def widen_view(scene: mujoco.MjvScene, factor: float) -> None:
    """Scale what the cameras of `scene` see, measured at a fixed distance, by `factor`."""
    for camera in scene.camera:
        camera.frustum_top *= factor
        camera.frustum_bottom *= factor


def resize_cube(scene: mujoco.MjvScene, cube: int, half_size: float) -> None:
    """Draw geom `cube` of the model with this half edge, metres."""
    for geom in scene.geoms[: scene.ngeom]:
        if geom.objid == cube:
            geom.size[:] = half_size


def add_distractors(
    scene: mujoco.MjvScene, geoms: Sequence[PlacedGeom], gloss: float | None
) -> None:
    """Append `geoms`; their segment numbers follow those of the geoms that are there."""
    for geom in geoms:
        drawn = scene.geoms[scene.ngeom]
        color = np.array([*geom.color, 1], np.float32)
        mujoco.mjv_initGeom(drawn, geom.type, geom.size, geom.pos, geom.mat.ravel(), color)
        # Which `mjv_initGeom` leaves as an earlier picture, or unused memory, had it.
        drawn.objtype, drawn.objid = mujoco.mjtObj.mjOBJ_UNKNOWN, -1
        drawn.category = mujoco.mjtCatBit.mjCAT_DECOR
        drawn.transparent = 0
        drawn.segid = scene.ngeom
        drawn.specular = gloss or 0.0
        scene.ngeom += 1


class Dressing:
    """Colours, lights and textures of looks for the geoms of `model`, one of a `Scene`'s two.

    `classes` (ngeom,) are the class ids of its geoms. Textures are uploaded to `context`, in which
    nothing else may be drawn but what was `apply`-ed.
    """

    def __init__(
        self, model: mujoco.MjModel, classes: np.ndarray, arm: ArmModel, context: GLContext
    ):
        self._context = context
        pads = [model.geom(name).id for name in (arm.static_pad, arm.moving_pad)]
        fingers = np.isin(classes, [ClassId.STATIC_FINGER, ClassId.MOVING_FINGER])
        self._table, self._cube = model.geom(TABLE).id, model.geom(CUBE).id
        self._role = np.where(fingers, "finger", "robot")
        self._role[_brightness(model) < _DARK] = "servo"
        self._role[pads] = "pad"
        self._role[self._cube], self._role[self._table] = "cube", "table"
        self._own = model
        self._textures = _texture_model(model)
        self._uploaded: dict[str, Surface | None] = {TABLE: None, SKY: None}

    def apply(self, scene: mujoco.MjvScene, look: Look | None) -> None:
        """Change `scene`; None leaves it as the model has it. The context must be current."""
        if look is None:
            self._upload(TABLE, None, table_picture)
            self._upload(SKY, None, background_picture)
            return
        _set_lights(scene, look)
        colors = {
            "robot": look.robot_color,
            "finger": look.finger_color,
            "pad": look.pad_color,
            "cube": look.cube_color,
        }
        for geom in scene.geoms[: scene.ngeom]:
            if not 0 <= geom.objid < len(self._role):
                continue  # a distractor
            color = colors.get(self._role[geom.objid])
            if color is not None:
                geom.rgba[:3] = color
            if look.gloss is not None:
                geom.specular = look.gloss
            if geom.objid == self._table and look.table is not None:
                geom.texrepeat[:] = 2 / look.table.scale  # MuJoCo counts in half lengths
        self._upload(TABLE, look.table, table_picture)
        self._upload(SKY, look.background, background_picture)
        scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = any(
            light.castshadow for light in scene.lights[: scene.nlight]
        )

    def _upload(
        self, name: str, surface: Surface | None, draw: Callable[[Surface], np.ndarray]
    ) -> None:
        """Put the picture of `surface` on texture `name`; None is the scene's own."""
        if self._uploaded[name] == surface:
            return
        source = self._own
        if surface is not None:
            source = self._textures
            picture = draw(surface)
            start = int(source.texture(name).adr[0])
            source.tex_data[start : start + picture.size] = picture.ravel()
        self._context.upload_texture(source, source.texture(name).id)
        self._uploaded[name] = surface


def _brightness(model: mujoco.MjModel) -> np.ndarray:
    """(ngeom,) greatest colour channel of every geom, its material's where it has one."""
    rgba = np.where(
        model.geom_matid[:, None] < 0, model.geom_rgba, model.mat_rgba[model.geom_matid]
    )
    return rgba[:, :3].max(1)


def _texture_model(model: mujoco.MjModel) -> mujoco.MjModel:
    """A model of nothing but textures, numbered as in `model`, the two that change enlarged."""
    spec = mujoco.MjSpec()
    for index in range(model.ntex):
        name = model.texture(index).name
        width, height = {
            TABLE: (TABLE_PIXELS, TABLE_PIXELS),
            SKY: (BACKGROUND_PIXELS, 6 * BACKGROUND_PIXELS),
        }.get(name, (1, 1))
        spec.add_texture(
            name=name,
            type=mujoco.mjtTexture.mjTEXTURE_SKYBOX
            if name == SKY
            else mujoco.mjtTexture.mjTEXTURE_2D,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
            width=width,
            height=height,
        )
    return spec.compile()


def _set_lights(scene: mujoco.MjvScene, look: Look) -> None:
    for light in scene.lights[: scene.nlight]:
        if light.headlight and look.ambient is not None:
            light.ambient[:] = look.ambient
        if light.headlight and look.headlight is not None:
            light.diffuse[:] = look.headlight
    if look.lights is None:
        return
    scene.nlight = sum(light.headlight for light in scene.lights[: scene.nlight])
    for lamp in look.lights:
        _set_lamp(scene.lights[scene.nlight], lamp)
        scene.nlight += 1


def _set_lamp(light: mujoco.MjvLight, lamp: Light) -> None:
    types = mujoco.mjtLightType
    direction = np.array(LAMP_TARGET) - lamp.position
    light.id = light.texid = -1
    light.headlight = 0
    light.type = types.mjLIGHT_SPOT if lamp.spot else types.mjLIGHT_DIRECTIONAL
    light.pos[:] = lamp.position
    light.dir[:] = direction / np.linalg.norm(direction)
    light.ambient[:] = 0
    light.diffuse[:] = lamp.diffuse
    light.specular[:] = _SPECULAR
    light.attenuation[:] = [1, 0, 0]
    light.cutoff = _SPOT_CUTOFF
    light.exponent = _SPOT_EXPONENT
    light.castshadow = lamp.shadow
