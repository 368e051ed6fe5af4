"""The arm as the scene needs it, made from anybody's MJCF of it.

What such a file calls otherwise is renamed, what stands around the arm is left out, and what it
lacks is added where there is no doubt; the rest is an error of one line.
"""

from pathlib import Path

import mujoco
import numpy as np

from so101_robobase.arm.model import ArmModel
from so101_robobase.sim.mjcf import (
    COLLISION_GROUP,
    VISUAL_GROUP,
    base_body,
    default_robot_xml,
    missing_parts,
    plain,
    read,
    refuse,
)
from so101_robobase.sim.mjcf_completion import complete

SLIDING_FRICTION = 1.0  # of fingers and table

_FREE = mujoco.mjtJoint.mjJNT_FREE


def load_robot(robot_xml: str | None, arm: ArmModel) -> mujoco.MjSpec:
    """`arm` alone, from the MJCF `robot_xml` (None: the arm's own): named, with pads and sites.

    Raises UserError where something is missing that nobody can guess.
    """
    path = Path(robot_xml or arm.robot_xml or default_robot_xml())
    spec = read(path)
    _check_meshes(spec, path)
    if spec.compiler.degree or "".join(spec.compiler.eulerseq) != "xyz":
        spec = plain(spec, path)  # the camera's angles are meant otherwise
    _name_joints(spec, arm, path)
    _leave_out_surroundings(spec, arm, path)
    _drive_joints(spec, arm, path)
    if missing_parts(spec, arm):
        spec = complete(spec, arm, path)
    _name_bodies(spec)
    _show(spec)
    _prepare(spec, arm)
    return spec


def gripper_body(spec: mujoco.MjSpec, arm: ArmModel) -> mujoco.MjsBody:
    """The body of the static finger."""
    return spec.geom(arm.static_pad).parent


def jaw_body(spec: mujoco.MjSpec, arm: ArmModel) -> mujoco.MjsBody:
    """The body of the moving finger."""
    return spec.geom(arm.moving_pad).parent


def _check_meshes(spec: mujoco.MjSpec, path: Path) -> None:
    folder = Path(spec.modelfiledir) / spec.meshdir
    lost = [mesh.file for mesh in spec.meshes if mesh.file and not (folder / mesh.file).is_file()]
    if lost:
        refuse(path, f"needs {len(lost)} meshes that are not in {folder}: {lost[0]} and so on")


def _name_joints(spec: mujoco.MjSpec, arm: ArmModel, path: Path) -> None:
    """Give the arm's joints their names; several conventions are known."""
    for joint in arm.joints:
        names = [name for name in (joint.name, *joint.aliases) if spec.joint(name) is not None]
        if not names:
            present = ", ".join(item.name for item in spec.joints) or "none"
            others = f" (or {', '.join(joint.aliases)})" if joint.aliases else ""
            refuse(
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
    base, world = base_body(spec, arm), spec.worldbody
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
        refuse(path, f"has joints beside the arm's: {further}; take them out")
    if present != arm.joint_names:
        refuse(path, f"has its joints in the order {', '.join(present)}, not as the arm")


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
        refuse(
            path,
            f"has actuators of {', '.join(driven)}; give one position servo per joint, in the "
            "order of the joints, or none at all",
        )
    for name, actuator in zip(arm.joint_names, spec.actuators, strict=True):
        actuator.name = name
        gain, bias = actuator.gainprm[0], actuator.biasprm[1]
        if not gain > 0 or bias != -gain or actuator.dyntype != mujoco.mjtDyn.mjDYN_NONE:
            refuse(path, f"drives {name} by something else than a position servo (<position kp>)")
        if not actuator.inheritrange and not np.ptp(actuator.ctrlrange):
            actuator.inheritrange = 1
        if actuator.inheritrange and not np.ptp(spec.joint(name).range):
            refuse(path, f"has neither a range of joint {name} nor a ctrlrange of its servo")
        if not np.ptp(actuator.forcerange):
            actuator.forcerange = [-arm.servo_force, arm.servo_force]


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
