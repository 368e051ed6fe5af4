"""Arms that nobody has built, and other people's ways to write the SO-101, made from its MJCF."""

from pathlib import Path

import mujoco
import numpy as np
import yaml

from so101_robobase.arm.model import SO101
from so101_robobase.sim.mjcf import default_robot_xml

LONGER = 0.03  # m


def so101() -> mujoco.MjSpec:
    """The default MJCF, to be changed; it finds its meshes wherever it is written."""
    path = default_robot_xml()
    spec = mujoco.MjSpec.from_file(str(path))
    spec.meshdir = str(path.parent / spec.meshdir)
    return spec


def written(spec: mujoco.MjSpec, path: Path) -> str:
    """Write `spec` as MJCF; the path as a setting."""
    spec.compile()
    path.write_text(spec.to_xml())
    return str(path)


def longer_arm(folder: Path) -> str:
    """MJCF of an arm whose upper arm is 3 cm longer; else an SO-101."""
    spec = so101()
    elbow = spec.body("lower_arm")
    elbow.pos = elbow.pos * (1 + LONGER / np.linalg.norm(elbow.pos))
    return written(spec, folder / "longer.xml")


def rigid_wrist(folder: Path) -> str:
    """Description of an arm without wrist_roll: its fingers open sideways, for ever."""
    spec = so101()
    joint = spec.joint("wrist_roll")
    body, turn, quat = joint.parent, np.empty(4), np.empty(4)
    mujoco.mju_axisAngle2Quat(turn, joint.axis, np.pi / 2)
    mujoco.mju_mulQuat(quat, body.quat, turn)
    body.quat = quat
    spec.delete(spec.actuator("wrist_roll"))
    spec.delete(joint)
    written(spec, folder / "rigid_wrist.xml")
    rows = [
        {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in vars(joint).items()
        }
        for joint in SO101.joints
        if joint.name != "wrist_roll"
    ]
    description = {"robot_xml": "rigid_wrist.xml", "roll_joint": "", "joints": rows}
    path = folder / "rigid_wrist.yaml"
    path.write_text(yaml.safe_dump(description))
    return str(path)
