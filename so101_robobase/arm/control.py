"""From a policy's action to the joint targets of one control step.

The simulator and the robot drive the arm through this file alone. Controllers are batched: row i
of every array belongs to arm i, and rows never influence each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from robobase.errors import UserError
from robobase.settings.fields import check_fields
from robobase.settings.kinds import Choice, Items, Number, OrNull
from robobase.settings.setting import one_of
from so101_robobase.arm.clearance import Clearance, furthest_arm_first
from so101_robobase.arm.kinematics import Kinematics, yaw_rotation
from so101_robobase.arm.model import SO101, ArmModel
from so101_robobase.base.remembers import Remembers

Array = NDArray[np.float64]

CONTROL_PERIOD = 0.02
"""s between two targets of the servos, in simulation and on the robot."""

MODES = ("joint_delta", "cartesian_delta")
_JOINTS, _CARTESIAN = (one_of(".mode", mode) for mode in MODES)
_SCALES = OrNull(Items(Number(above=0, most=1), 1, 100))
_LEADS = OrNull(Items(Number(above=0, most=3.2), 1, 100))
_CORNER = OrNull(Items(Number(-2, 2), 3, 3))


@dataclass(frozen=True)
class ControlConfig:
    """How actions move the arm; angles in rad, lengths in m, both per control step of
    20 ms (`CONTROL_PERIOD`).

    Where None stands, the arm's own numbers are meant. The SO-101's `joint_scale`: 0.05 rad
    per 20 ms is 2.5 rad/s, about half of what an STS3215 servo reaches without load (4.7 rad/s at
    7.4 V, data sheet), so targets can be followed; the light jaw gets the servo's full speed.
    `max_lead` keeps the target near the measured joint: enough for the servo to press with full
    force, not so much that a blocked joint winds up (3 steps of travel). `tilt_weight` makes the
    gripper keep the lean it had at reset, where it can; without it the fingers tip over on the way
    and slip off the cube.
    `cartesian_scale` is that of the original lift environment.
    """

    # what an action changes: one number per joint, or dx, dy, dz of the gripper and its jaw
    mode: Annotated[str, Choice(*MODES)] = "joint_delta"
    # rad of an action of 1, by joint
    joint_scale: Annotated[Sequence[float] | None, _SCALES, _JOINTS] = None
    # rad of the target over the measured joint, by joint
    max_lead: Annotated[Sequence[float] | None, _LEADS] = None
    # m of an action of 1
    cartesian_scale: Annotated[float, Number(above=0, most=0.2), _CARTESIAN] = 0.02
    # m of the set-point from the measured TCP
    max_set_point_lead: Annotated[float, Number(above=0, most=0.5), _CARTESIAN] = 0.04
    # m, the corner with the least x, y, z of where the set-point may be
    workspace_low: Annotated[Sequence[float] | None, _CORNER, _CARTESIAN] = None
    # m, the opposite one
    workspace_high: Annotated[Sequence[float] | None, _CORNER, _CARTESIAN] = None
    # m of position error worth 1 rad of tilt; 0: free
    tilt_weight: Annotated[float, Number(0, 10), _CARTESIAN] = 0.02
    # hold the joint that turns the gripper (the SO-101's wrist_roll at 90 degrees)
    lock_wrist: Annotated[bool, _CARTESIAN] = False
    # m above the table that no target comes below; the robot's safety filter has 0.001
    floor: Annotated[float | None, OrNull(Number(0, 0.2))] = None

    def __post_init__(self) -> None:
        check_fields(self, "control")
        corners = self.workspace_low, self.workspace_high
        if None not in corners and not np.all(np.asarray(corners[0]) < np.asarray(corners[1])):
            raise UserError("control.workspace_low must be below control.workspace_high")
        if self.lock_wrist and self.mode != "cartesian_delta":
            raise UserError("control.lock_wrist=true needs control.mode=cartesian_delta")

    def of(self, arm: ArmModel) -> "ControlConfig":
        """This with the numbers of `arm` in place of None.

        Raises UserError where there are not as many numbers as joints, or no wrist to lock.
        """
        own = {
            "joint_scale": arm.each("scale"),
            "max_lead": arm.each("lead"),
            "workspace_low": arm.workspace_low,
            "workspace_high": arm.workspace_high,
        }
        missing: dict[str, Any] = {k: v for k, v in own.items() if getattr(self, k) is None}
        full = replace(self, **missing)
        for key in ("joint_scale", "max_lead"):
            given = getattr(full, key)
            if len(given) != arm.num_joints:
                raise UserError(
                    f"control.{key} has {len(given)} numbers, the arm {arm.num_joints} joints: "
                    f"{', '.join(arm.joint_names)}; give as many, or null for the arm's"
                )
        if self.lock_wrist and arm.roll_index is None:
            raise UserError("control.lock_wrist=true: no joint turns this arm's gripper")
        return full


class Controller(Protocol):
    """Turns actions into joint targets and remembers, per arm, where the target is."""

    @property
    def action_dim(self) -> int:
        """Numbers in one action."""

    @property
    def target(self) -> Array:
        """What the servos were last told, (N, J) rad; live, and may be written to."""

    def reset(self, joint_target: np.ndarray, ids: np.ndarray | None = None) -> None:
        """Start arms `ids` (default all) from joint targets (n, J), rad.

        A pose to hold, or, where a cube is held already, the targets that hold it.
        """

    def __call__(self, action: np.ndarray, joint_pos: np.ndarray) -> Array:
        """Joint targets (N, J) for one control step: rad, in the arm's order.

        `action` (N, action_dim) is clipped to [-1, 1]; `joint_pos` (N, J) is measured, rad.
        """

    def state_dict(self) -> dict[str, Any]:
        """Copies of everything remembered."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a `state_dict`."""


def num_actions(config: ControlConfig, arm: ArmModel = SO101) -> int:
    """Numbers in one action."""
    return arm.num_joints if config.mode == "joint_delta" else CartesianDelta.action_dim


def make_controller(
    config: ControlConfig,
    kinematics: Kinematics,
    joint_range: np.ndarray,
    num_envs: int,
    clearance: Clearance | None = None,
) -> Controller:
    """The controller that `config.mode` names, for `num_envs` arms with J joints each.

    `joint_range` (J, 2) rad: lower and upper limit of every joint. `clearance` is needed for
    `config.floor` alone. Raises ValueError where it is missing then, UserError as `config.of`.
    """
    config = config.of(kinematics.arm)
    controller: Controller
    if config.mode == "joint_delta":
        controller = JointDelta(config, joint_range, num_envs)
    else:
        controller = CartesianDelta(config, kinematics, joint_range, num_envs)
    if config.floor is None:
        return controller
    if clearance is None:
        raise ValueError("control.floor needs the arm's clearance")
    return AboveFloor(controller, config.floor, np.asarray(config.max_lead), clearance)


class JointDelta(Remembers):
    """An action a joint; each moves its joint's target by up to `joint_scale` rad.

    | index | 0            | 1             | 2          | 3          | 4          | 5       |
    |-------|--------------|---------------|------------|------------|------------|---------|
    | joint | shoulder_pan | shoulder_lift | elbow_flex | wrist_flex | wrist_roll | gripper |
    """

    remembered: ClassVar = {"target": "target"}

    def __init__(self, config: ControlConfig, joint_range: np.ndarray, num_envs: int):
        self.action_dim = len(joint_range)
        self._scale = np.asarray(config.joint_scale, dtype=np.float64)
        self._max_lead = np.asarray(config.max_lead, dtype=np.float64)
        self._lower, self._upper = np.asarray(joint_range, dtype=np.float64).T
        self.target: Array = np.zeros((num_envs, len(joint_range)))

    def reset(self, joint_target: np.ndarray, ids: np.ndarray | None = None) -> None:
        self.target[slice(None) if ids is None else ids] = joint_target

    def __call__(self, action: np.ndarray, joint_pos: np.ndarray) -> Array:
        wanted = self.target + self._scale * np.clip(action, -1, 1)
        wanted = np.clip(wanted, joint_pos - self._max_lead, joint_pos + self._max_lead)
        self.target[:] = np.clip(wanted, self._lower, self._upper)
        return self.target.copy()


class CartesianDelta(Remembers):
    """Four actions: three move a set-point for the TCP, one sets the gripper.

    | index | 0                  | 1  | 2  | 3                                        |
    |-------|--------------------|----|----|------------------------------------------|
    | moves | dx                 | dy | dz | gripper, -1 closed to 1 open, absolute   |
    | unit  | `cartesian_scale` m, base frame      | the joint's range                      |

    The set-point stays in the workspace and within `max_set_point_lead` of the measured TCP. Joint
    targets follow it by damped least squares on the position and, weakly, on the gripper's lean.
    """

    action_dim = 4
    remembered: ClassVar = {"target": "target", "set_point": "set_point", "lean": "_lean"}

    def __init__(
        self,
        config: ControlConfig,
        kinematics: Kinematics,
        joint_range: np.ndarray,
        num_envs: int,
    ):
        self._kinematics = kinematics
        self._scale = config.cartesian_scale
        self._set_point_lead = config.max_set_point_lead
        self._low = np.asarray(config.workspace_low, dtype=np.float64)
        self._high = np.asarray(config.workspace_high, dtype=np.float64)
        self._max_lead = np.asarray(config.max_lead, dtype=np.float64)
        self._lower, self._upper = np.asarray(joint_range, dtype=np.float64).T
        weight = config.tilt_weight
        self._orientation_weight = (weight, weight, 0.0)  # the heading is free
        self._locked = kinematics.arm.roll_index if config.lock_wrist else None
        self._locked_roll = kinematics.arm.locked_roll
        self._free = tuple(i != self._locked for i in range(len(joint_range) - 1))
        self.target: Array = np.zeros((num_envs, len(joint_range)))
        self.set_point: Array = np.zeros((num_envs, 3))  # m, base frame
        self._lean: Array = np.tile(np.eye(3), (num_envs, 1, 1))  # tool frame, were the pan at 0

    def reset(self, joint_target: np.ndarray, ids: np.ndarray | None = None) -> None:
        rows = slice(None) if ids is None else ids
        self.target[rows] = joint_target
        self.set_point[rows], tool = self._kinematics.forward(joint_target)
        self._lean[rows] = yaw_rotation(-self._kinematics.heading(joint_target)) @ tool

    def __call__(self, action: np.ndarray, joint_pos: np.ndarray) -> Array:
        action = np.clip(action, -1, 1)
        wanted = self.set_point + self._scale * action[:, :3]
        tcp, _ = self._kinematics.forward(joint_pos)
        lead = wanted - tcp
        distance = np.sqrt(lead[:, 0] ** 2 + lead[:, 1] ** 2 + lead[:, 2] ** 2)
        lead *= np.minimum(1, self._set_point_lead / np.maximum(distance, 1e-9))[:, None]
        self.set_point[:] = np.clip(tcp + lead, self._low, self._high)

        arm = self.target[:, :-1].copy()
        if self._locked is not None:
            arm[:, self._locked] = self._locked_roll
        arm = self._kinematics.solve(
            self.set_point,
            arm,
            yaw_rotation(self._kinematics.heading(arm)) @ self._lean,
            orientation_weight=self._orientation_weight,
            iterations=3,
            free=self._free,
        )
        opening = (action[:, 3] + 1) / 2
        gripper = self._lower[-1] + opening * (self._upper[-1] - self._lower[-1])
        # One factor for the whole arm: clamped joint by joint, the TCP would leave its path.
        lead = np.column_stack([arm, gripper]) - joint_pos
        excess = np.abs(lead) / self._max_lead
        lead[:, :-1] /= np.maximum(excess[:, :-1].max(axis=1, keepdims=True), 1)
        lead[:, -1] /= np.maximum(excess[:, -1], 1)
        self.target[:] = np.clip(joint_pos + lead, self._lower, self._upper)
        return self.target.copy()


class AboveFloor:
    """Another controller, whose targets do not reach below a floor.

    The robot's safety filter sends no pose below the table (`robot.safety`). A policy that has
    learnt to press on the table is held there by it; one that learnt with this knows.

    Where a target would reach below, the arm goes straight towards it, up to the floor, with all
    its joints (one that goes down stops the others, as in the filter), and then the gripper:
    fingers on the table can still be closed. A target that is below already, as that of a cube
    held at reset may be, goes no deeper.

    Args:
        floor: m above the table, of the lowest point of the arm.
        max_lead: (J,) rad of a target over the measured joint.
    """

    def __init__(
        self,
        controller: Controller,
        floor: float,
        max_lead: Array,
        clearance: Clearance,
    ):
        self._controller = controller
        self._floor = floor
        self._max_lead = max_lead
        self._clearance = clearance

    @property
    def action_dim(self) -> int:
        return self._controller.action_dim

    @property
    def target(self) -> Array:
        return self._controller.target

    def reset(self, joint_target: np.ndarray, ids: np.ndarray | None = None) -> None:
        self._controller.reset(joint_target, ids)

    def __call__(self, action: np.ndarray, joint_pos: np.ndarray) -> Array:
        before = self.target.copy()
        wanted = self._controller(action, joint_pos)
        for i in np.flatnonzero(self._clearance(wanted).clearance < self._floor):
            wanted[i] = self._raised(before[i], wanted[i], joint_pos[i])
        self.target[:] = wanted
        return wanted

    def _raised(self, before: Array, wanted: Array, joint_pos: Array) -> Array:
        floor = min(self._floor, float(self._clearance(before).clearance))

        def fits(pose: Array) -> bool:
            return bool(self._clearance(pose).clearance >= floor)

        led = np.clip(before, joint_pos - self._max_lead, joint_pos + self._max_lead)
        start = led if fits(led) else before
        return furthest_arm_first(start, wanted, fits)

    def state_dict(self) -> dict[str, Any]:
        return self._controller.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._controller.load_state_dict(state)
