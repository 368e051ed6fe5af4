"""What a file of the SO-101 lacks, added where the arm's own MJCF has it.

Zeros and senses of the joints, the base's place and the frames of gripper and jaw are taken over
too, so that angles, poses and pictures mean the same.
"""

from pathlib import Path

import mujoco
import numpy as np

from so101_robobase.arm.chain import TOLERANCE, Chain, Fit, fit
from so101_robobase.arm.model import ArmModel
from so101_robobase.sim.mjcf import (
    COLLISION_GROUP,
    base_body,
    compiled,
    default_robot_xml,
    missing_parts,
    plain,
    read,
    refuse,
)


def complete(spec: mujoco.MjSpec, arm: ArmModel, path: Path) -> mujoco.MjSpec:
    """Add pads and TCP where the description has them, on an arm with the same axes.

    Its joints get the zeros and senses, its base the place, and gripper and jaw the frames of the
    arm's own MJCF.
    """
    own = read(Path(arm.robot_xml or default_robot_xml()))
    what = f"has no {' and no '.join(missing_parts(spec, arm))}"
    if missing_parts(own, arm):
        refuse(path, f"{what}; add what is missing")
    reference, names = own.compile(), arm.joint_names
    spec = plain(spec, path)
    model = compiled(spec.copy(), path)
    found = fit(Chain.of(model, names), Chain.of(reference, names))
    if found.joint < len(names):
        refuse(
            path,
            f"{what}, and it is another arm: the axis of {names[found.joint]} lies "
            f"{1000 * found.distance:.1f} mm off (at most {1000 * TOLERANCE:.1f}); add what is "
            "missing, or describe the arm: env.scene.arm",
        )
    _take_over(spec, model, arm, found)
    model = compiled(spec.copy(), path)
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
            refuse(path, f"{what}, and nothing says where its jaw is shut; add what is missing")
        reframe(body, rotation, position)
        if spec.geom(name) is None:
            size = [arm.pad_size] * 3
            body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=size, pos=pos)
    if spec.site(arm.tcp_site) is None:
        jaw.parent.add_site(name=arm.tcp_site, group=COLLISION_GROUP)
    return spec


def _take_over(spec: mujoco.MjSpec, model: mujoco.MjModel, arm: ArmModel, found: Fit) -> None:
    """Move the base of `spec`, whose compiled `model` this is; turn joints to zeros and senses."""
    base, turn, moved = base_body(spec, arm), np.empty(4), np.empty(3)
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


def reframe(body: mujoco.MjsBody, rotation: np.ndarray, position: np.ndarray) -> None:
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
