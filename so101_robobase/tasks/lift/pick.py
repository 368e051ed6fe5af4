"""A scripted top-down pick that acts through the public action interface, for demonstrations.

It sees what a policy must not see, the pose of the cube, and decides anew at every call where the
gripper should go; the only memory is, per arm, the phase of the pick. Whoever moves the arm, it
says how to go on from there: a learner's teacher judges states that it would never reach.
"""

from collections.abc import Mapping
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from so101_robobase.arm.control import ControlConfig
from so101_robobase.arm.kinematics import Kinematics, rpy, yaw_rotation

Array = NDArray[np.float64]

# Geometry of the grasp, m. The convex hull of the static finger reaches about 4 mm further in than
# the pad: with 4 mm of `CLEARANCE` it was seen to land on the cube's edge and stay there.
CUBE_HALF_SIZE = 0.015
CLEARANCE = 0.0066
GRASP_HEIGHT = 0.003  # TCP above the cube's centre; the pads lie 2 mm below the TCP
HOVER_HEIGHT = 0.045  # TCP above the cube's centre before going down
LIFT_MARGIN = 0.03  # how far above the lift height the cube is carried
ARRIVED = 0.006  # m above the end of the way down, from where the jaw closes
BESIDE = 0.008  # m beside it
FUNNEL = 0.3  # m beside the way down, per m above its end, from which going down is safe
ALIGNED = 0.3  # rad; the way down turns further
LOST = 0.03  # m between cube and the middle of the fingers while closing or lifting
MAX_TRAVEL = 0.008  # m per control step: slow enough for the joints to keep the way straight
STILL = 0.01  # rad between two calls: the jaw has come to rest


class Phase(IntEnum):
    """Where an arm is in its pick."""

    ABOVE = 0
    DOWN = 1
    CLOSE = 2
    LIFT = 3  # and hold: the goal of the lift is a pose, kept once it is reached


class TopDownPick:
    """Hover above the cube, go down, close, lift, and hold; start over where the cube was lost.

    Args:
        control: the controller's configuration; gives the meaning of an action.
        kinematics: of the arm.
        joint_range: (J, 2) joint limits, rad.
        num_envs: N, the number of arms.
        action_repeat: control steps for which the environment holds each action.
        lift_height: m, height of the cube that the task asks for.
    """

    def __init__(
        self,
        control: ControlConfig,
        kinematics: Kinematics,
        joint_range: np.ndarray,
        num_envs: int,
        action_repeat: int = 2,
        lift_height: float = 0.08,
    ):
        self._kinematics, self._arm = kinematics, kinematics.arm
        control = control.of(kinematics.arm)
        self._joint_delta = control.mode == "joint_delta"
        self._turns = self._joint_delta and kinematics.arm.roll_index is not None  # the gripper
        self._weight = (0.02, 0.02, 0.02 if self._turns else 0.0)  # m per rad, of the tool
        self._joint_reach = np.asarray(control.joint_scale, dtype=np.float64) * action_repeat
        self._reach = control.cartesian_scale * action_repeat
        self._travel = MAX_TRAVEL * action_repeat
        self._jaw_range = np.asarray(joint_range, dtype=np.float64)[-1]
        self._lift_height = lift_height
        self.phase = np.full(num_envs, Phase.ABOVE)
        self._jaw = np.full(num_envs, np.inf)  # rad, at the last call
        self._lift_from: Array = np.zeros((num_envs, 3))  # m, where the TCP was when it closed

    def reset(self, ids: np.ndarray | None = None) -> None:
        """Begin a new pick on arms `ids` (default all)."""
        rows = slice(None) if ids is None else ids
        self.phase[rows] = Phase.ABOVE
        self._jaw[rows] = np.inf

    def state_dict(self) -> dict[str, np.ndarray]:
        """Phase, last jaw position and start of the lift of every arm."""
        return {
            "phase": self.phase.astype(np.int64),
            "jaw": self._jaw.copy(),
            "lift_from": self._lift_from.copy(),
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `state_dict()`."""
        self.phase[:] = state["phase"]
        self._jaw[:] = state["jaw"]
        self._lift_from[:] = state["lift_from"]

    def act(
        self,
        joint_pos: np.ndarray,
        cube_pos: np.ndarray,
        cube_quat: np.ndarray,
        joint_target: np.ndarray,
        holding: np.ndarray | None = None,
        cube_half_size: np.ndarray | float = CUBE_HALF_SIZE,
    ) -> Array:
        """The next action (N, J) or (N, 4), each number in [-1, 1].

        Args:
            joint_pos: (N, J) joint positions, rad.
            cube_pos: (N, 3) centre of the cube, m, base frame.
            cube_quat: (N, 4) its orientation, unit quaternion w x y z.
            joint_target: (N, J) what the servos were last told (`Controller.target`), rad. Actions
                add to it, and steering it instead of the lagging joints does not oscillate.
            holding: (N,) bool, arms whose fingers hold the cube, however that came about: they
                lift. None: only what this pick grasped is lifted.
            cube_half_size: half the edge of the cube, m, one or (N,).
        """
        tcp, tool = self._kinematics.forward(joint_pos)
        heading = rpy(tool)[:, 2]
        skew = _smallest_turn(_yaw(cube_quat) - heading)
        turn = skew if self._turns else np.zeros_like(skew)
        down = yaw_rotation(heading + turn)
        half_width = cube_half_size * (np.cos(skew - turn) + np.abs(np.sin(skew - turn)))
        beside = cube_pos - (half_width + CLEARANCE - self._arm.pad_face)[:, None] * down[:, :, 0]
        grasp = beside + np.array([0, 0, GRASP_HEIGHT])
        hover = beside + np.array([0, 0, HOVER_HEIGHT])

        jaw = joint_pos[:, -1] - self._arm.jaw_excess(cube_half_size)
        self._advance(tcp, jaw, turn, grasp, hover, cube_pos)
        if holding is not None:
            self._take_over(holding, tcp, cube_pos[:, 2] - cube_half_size)
        lift = self._lift_from.copy()
        lift[:, 2] += self._lift_height + LIFT_MARGIN - cube_half_size
        phase = self.phase[:, None]
        goal = np.select(
            [phase == Phase.ABOVE, phase == Phase.DOWN, phase == Phase.CLOSE],
            [hover, grasp, self._lift_from],
            lift,
        )
        jaw_goal = np.where(self.phase >= Phase.CLOSE, self._jaw_range[0], self._arm.jaw_around)
        return self._towards(goal, down, jaw_goal, joint_target)

    def _advance(
        self,
        tcp: Array,
        jaw: Array,
        turn: Array,
        grasp: Array,
        hover: Array,
        cube_pos: np.ndarray,
    ) -> None:
        up = tcp[:, 2] - grasp[:, 2]
        beside_way = _distance(tcp[:, :2], grasp[:, :2])
        above = (
            (self.phase == Phase.ABOVE)
            & (up < hover[:, 2] - grasp[:, 2] + ARRIVED)
            & (beside_way < BESIDE + FUNNEL * np.maximum(up, 0))
            & (np.abs(turn) < ALIGNED)
            & (np.abs(jaw - self._arm.jaw_around) < 0.4)
        )
        arrived = (np.abs(up) < ARRIVED) & (beside_way < BESIDE)
        down = (self.phase == Phase.DOWN) & arrived
        still = np.abs(jaw - self._jaw) < STILL
        closing, arm = self.phase == Phase.CLOSE, self._arm
        closed = closing & still & (jaw < arm.jaw_closed)
        askew = closing & still & (jaw >= arm.jaw_closed) & (jaw < arm.jaw_moved)
        empty = (jaw < arm.jaw_empty) | (_distance(tcp, cube_pos) > LOST)
        lost = (self.phase >= Phase.CLOSE) & empty
        self._lift_from[down] = tcp[down]
        self.phase[above] = Phase.DOWN
        self.phase[down] = Phase.CLOSE
        self.phase[closed] = Phase.LIFT
        self.phase[lost | askew] = Phase.ABOVE
        self._jaw[:] = jaw

    def _take_over(self, holding: np.ndarray, tcp: Array, raised: np.ndarray) -> None:
        """Arms that hold a cube too early for their phase lift it as from the table.

        `raised` (N,) m: how far above the table they hold it.
        """
        early = holding & (self.phase < Phase.CLOSE)
        self.phase[early] = Phase.LIFT
        self._lift_from[early] = tcp[early]
        self._lift_from[early, 2] -= raised[early]

    def _towards(
        self, goal: Array, tool: Array, jaw_goal: Array, joint_target: np.ndarray
    ) -> Array:
        """The action that moves the target straight to `goal`, as far as one action can."""
        start, _ = self._kinematics.forward(joint_target)
        way = goal - start
        way *= np.minimum(1, self._travel / np.maximum(_distance(goal, start), 1e-9))[:, None]
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
            low, high = self._jaw_range
            action[:, 3] = 2 * (jaw_goal - low) / (high - low) - 1
        return np.clip(action, -1, 1)


def _distance(a: np.ndarray, b: np.ndarray) -> Array:
    return np.sqrt(((a - b) ** 2).sum(axis=1))


def _yaw(quat: np.ndarray) -> Array:
    w, x, y, z = quat.T
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y**2 + z**2))


def _smallest_turn(angle: Array) -> Array:
    """The angle to the nearest face of the cube: `angle` modulo 90 degrees, in ±45 degrees."""
    return (angle + np.pi / 4) % (np.pi / 2) - np.pi / 4
