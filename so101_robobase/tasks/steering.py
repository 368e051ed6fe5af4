"""From where an expert wants the gripper to the action that takes it there."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from so101_robobase.arm.control import ControlConfig
from so101_robobase.arm.kinematics import Kinematics

Array = NDArray[np.float64]

MAX_TRAVEL = 0.008  # m per control step: slow enough for the joints to keep the way straight


class Plan(NamedTuple):
    """Where N arms should go now; metres, rad, base frame."""

    goal: Array  # (N, 3) of the TCP
    tool: Array  # (N, 3, 3) how the gripper should stand
    jaw: Array  # (N,)


class Steering:
    """Straight ways for N arms.

    Args:
        control: the controller's configuration; gives the meaning of an action.
        kinematics: of the arm.
        joint_range: (J, 2) joint limits, rad.
        action_repeat: control steps for which the environment holds each action.
    """

    def __init__(
        self,
        control: ControlConfig,
        kinematics: Kinematics,
        joint_range: np.ndarray,
        action_repeat: int = 2,
    ):
        self._kinematics = kinematics
        control = control.of(kinematics.arm)
        self._joint_delta = control.mode == "joint_delta"
        self.turns = self._joint_delta and kinematics.arm.roll_index is not None
        """Whether an action can turn the gripper."""
        self._weight = (0.02, 0.02, 0.02 if self.turns else 0.0)  # m per rad, of the tool
        self._joint_reach = np.asarray(control.joint_scale, dtype=np.float64) * action_repeat
        self._reach = control.cartesian_scale * action_repeat
        self._travel = MAX_TRAVEL * action_repeat
        self.jaw_range = np.asarray(joint_range, dtype=np.float64)[-1]

    def towards(self, plan: Plan, joint_target: np.ndarray) -> Array:
        """The action (N, A) in [-1, 1] that moves the target to the plan's goal, as far as one can.

        `joint_target` (N, J) rad is what the servos were last told; steering it instead of the
        lagging joints does not oscillate.
        """
        goal, tool, jaw_goal = plan
        start, _ = self._kinematics.forward(joint_target)
        way = goal - start
        way *= np.minimum(1, self._travel / np.maximum(distance(goal, start), 1e-9))[:, None]
        if self._joint_delta:
            arm = self._kinematics.solve(
                start + way, joint_target, tool, orientation_weight=self._weight, damping=0.005
            )
            change = np.column_stack([arm, jaw_goal]) - joint_target
            action = change / self._joint_reach
            # All arm joints slow down together, so that the way stays straight.
            largest = np.abs(action[:, :-1]).max(axis=1, keepdims=True)
            action[:, :-1] /= np.maximum(largest, 1)
        else:
            action = np.empty((len(goal), 4))
            action[:, :3] = way / self._reach
            low, high = self.jaw_range
            action[:, 3] = 2 * (jaw_goal - low) / (high - low) - 1
        return np.clip(action, -1, 1)


def distance(a: np.ndarray, b: np.ndarray) -> Array:
    """Of rows, (N, k) -> (N,)."""
    return np.sqrt(((a - b) ** 2).sum(axis=1))
