"""A scripted top-down pick that acts through the public action interface, for demonstrations.

It sees what a policy must not see, the pose of the cube, and decides anew at every call where the
gripper should go; the only memory is, per arm, the phase of the pick. Whoever moves the arm, it
says how to go on from there: a learner's teacher judges states that it would never reach.
"""

from enum import IntEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from so101_robobase.arm.control import ControlConfig
from so101_robobase.arm.kinematics import Kinematics, rpy, yaw_rotation
from so101_robobase.base.remembers import Remembers
from so101_robobase.tasks.steering import Plan, Steering, distance

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
STILL = 0.01  # rad between two calls: the jaw has come to rest


class Phase(IntEnum):
    """Where an arm is in its pick."""

    ABOVE = 0
    DOWN = 1
    CLOSE = 2
    LIFT = 3  # and hold: the goal of the lift is a pose, kept once it is reached


class TopDownPick(Remembers):
    """Hover above the cube, go down, close, lift, and hold; start over where the cube was lost.

    Args:
        control: the controller's configuration; gives the meaning of an action.
        kinematics: of the arm.
        joint_range: (J, 2) joint limits, rad.
        num_envs: N, the number of arms.
        action_repeat: control steps for which the environment holds each action.
        lift_height: m, height of the cube that the task asks for.
    """

    remembered: ClassVar = {"phase": "phase", "jaw": "_jaw", "lift_from": "_lift_from"}

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
        self._steering = Steering(control, kinematics, joint_range, action_repeat)
        self._lift_height = lift_height
        self.phase = np.full(num_envs, Phase.ABOVE)
        self._jaw = np.full(num_envs, np.inf)  # rad, at the last call
        self._lift_from: Array = np.zeros((num_envs, 3))  # m, where the TCP was when it closed

    def reset(self, ids: np.ndarray | None = None) -> None:
        """Begin a new pick on arms `ids` (default all)."""
        rows = slice(None) if ids is None else ids
        self.phase[rows] = Phase.ABOVE
        self._jaw[rows] = np.inf

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
        plan = self._plan(joint_pos, cube_pos, cube_quat, holding, cube_half_size)
        return self._steering.towards(plan, joint_target)

    def _plan(
        self,
        joint_pos: np.ndarray,
        cube_pos: np.ndarray,
        cube_quat: np.ndarray,
        holding: np.ndarray | None,
        cube_half_size: np.ndarray | float,
    ) -> Plan:
        tcp, tool = self._kinematics.forward(joint_pos)
        heading = rpy(tool)[:, 2]
        skew = _smallest_turn(_yaw(cube_quat) - heading)
        turn = skew if self._steering.turns else np.zeros_like(skew)
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
        jaw_goal = np.where(
            self.phase >= Phase.CLOSE, self._steering.jaw_range[0], self._arm.jaw_around
        )
        self._tcp, self._beside = tcp, beside
        return Plan(goal, down, jaw_goal)

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
        beside_way = distance(tcp[:, :2], grasp[:, :2])
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
        empty = (jaw < arm.jaw_empty) | (distance(tcp, cube_pos) > LOST)
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


def _yaw(quat: np.ndarray) -> Array:
    w, x, y, z = quat.T
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y**2 + z**2))


def _smallest_turn(angle: Array) -> Array:
    """The angle to the nearest face of the cube: `angle` modulo 90 degrees, in ±45 degrees."""
    return (angle + np.pi / 4) % (np.pi / 2) - np.pi / 4
