"""Forward and inverse kinematics of the arm for batches of joint positions, in plain numpy.

The constants are read once from an `MjModel`; after that nothing here needs MuJoCo, so the robot
uses the same code. Every row of a result depends on its own row of the input alone, bit for bit.
"""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from robobase.errors import UserError
from so101_robobase.arm.model import SO101, ArmModel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kinematics:
    """The chain of hinges from the base to the tool centre point (TCP).

    The tool frame has its origin in the TCP and the axes of the gripper body: the fingers point
    along -z and the static finger lies in -x of the cube it holds. Pointing straight down, its
    roll and pitch are 0 and its yaw is the gripper's heading, so roll, pitch and yaw are far from
    their singularity where the arm works.

    K joints move the TCP, all but the gripper, which only moves the jaw. Link `i` turns about joint
    `i`; its frame lies in the joint's anchor. All fields are constants of the robot model: `offset`
    (K, 3) in m from anchor to anchor in the previous link's frame, `tool_offset` (3,), and the
    rotation of link `i` against link `i - 1` at joint angle `q` as
    `fixed + sin(q) * sine + cos(q) * cosine`, each (K, 3, 3).
    """

    arm: ArmModel
    offset: Array
    tool_offset: Array
    axis: Array  # (K, 3) joint axes in the frame of their own link
    fixed: Array
    sine: Array
    cosine: Array
    lower: Array  # (K,) joint limits, rad
    upper: Array

    @classmethod
    def from_model(cls, model: mujoco.MjModel, arm: ArmModel = SO101) -> "Kinematics":
        """Read the chain that carries the TCP's site from a compiled model of `arm`."""
        site = arm.tcp_site
        bodies: list[int] = []
        body = int(model.site(site).bodyid[0])
        while body != 0:
            bodies.insert(0, body)
            body = int(model.body_parentid[body])

        offsets, axes, fixed, sine, cosine, ranges, names = [], [], [], [], [], [], []
        position: Array = np.zeros(3)  # of the next body, in the last link's frame
        rotation: Array = np.eye(3)
        for body in bodies:
            position = position + rotation @ model.body_pos[body]
            rotation = rotation @ _matrix(model.body_quat[body])
            if model.body_jntnum[body] == 0:
                continue
            joint = model.joint(int(model.body_jntadr[body]))
            names.append(joint.name)
            offsets.append(position + rotation @ joint.pos)
            cross = _cross_matrix(joint.axis)
            fixed.append(rotation @ (np.eye(3) + cross @ cross))  # Rodrigues' formula
            sine.append(rotation @ cross)
            cosine.append(-rotation @ cross @ cross)
            axes.append(joint.axis.copy())
            ranges.append(joint.range.copy())
            position, rotation = -joint.pos, np.eye(3)
        expected = list(arm.joint_names[:-1])
        if names != expected:
            raise UserError(f"site {site!r} is moved by joints {names}; it must be {expected}")
        tool = model.site(site).pos
        if not np.allclose(rotation, np.eye(3)):  # the gripper is another body than the last link
            for part in (fixed, sine, cosine):
                part[-1] = part[-1] @ rotation
            axes[-1], position = axes[-1] @ rotation, position @ rotation
        limits = np.array(ranges)
        return cls(
            arm=arm,
            offset=np.array(offsets),
            tool_offset=position + tool,
            axis=np.array(axes),
            fixed=np.array(fixed),
            sine=np.array(sine),
            cosine=np.array(cosine),
            lower=limits[:, 0],
            upper=limits[:, 1],
        )

    def forward(self, q: np.ndarray) -> tuple[Array, Array]:
        """Pose of the tool frame in the base frame: position (N, 3) in m, rotation (N, 3, 3).

        `q` (N, K) or (N, K + 1) joint positions in rad; a gripper column is ignored.
        """
        _, rotations, position = self._links(q)
        return position, rotations[:, -1]

    def heading(self, q: np.ndarray) -> Array:
        """How far the first joint has turned the arm about the base's z axis, (N,) rad."""
        axis = self.fixed[0] @ self.axis[0]
        return axis[2] * q[:, 0]

    def jacobian(self, q: np.ndarray) -> Array:
        """Derivative (N, 6, K) of TCP position (rows 0-2, m) and orientation (rows 3-5, rad)."""
        anchors, rotations, position = self._links(q)
        return self._jacobian(anchors, rotations, position)

    def solve(
        self,
        target_position: np.ndarray,
        q: np.ndarray,
        target_rotation: np.ndarray | None = None,
        *,
        orientation_weight: float | tuple[float, float, float] = 0.1,
        damping: float = 0.01,
        max_step: float = 0.5,
        iterations: int = 10,
        free: tuple[bool, ...] | None = None,
    ) -> Array:
        """Joint positions (N, K) that bring the TCP to a pose, by damped least squares.

        Each iteration adds dq = (JᵀJ + damping² I)⁻¹ Jᵀ e, limited to `max_step` rad per joint,
        and clamps to the joint limits (Wampler 1986; Buss 2004, "Introduction to inverse
        kinematics"). Out of reach, the result is a nearby pose, not an error.

        Args:
            target_position: (N, 3) m, in the base frame.
            q: (N, K) or (N, K + 1) joint positions to start from, rad.
            target_rotation: (N, 3, 3) tool frame wanted, or None for position alone.
            orientation_weight: m of position error that count as much as 1 rad of rotation; or
                three of them, for rotations about the base frame's axes (0 about z: any heading).
            damping: larger is slower and safer near singular poses, m/rad.
            free: which joints may move, default all; the others keep their column of `q`.
        """
        links = len(self.offset)
        q = np.array(q[:, :links], dtype=np.float64)
        moves = np.ones(links) if free is None else np.array(free, dtype=np.float64)
        eye = damping**2 * np.eye(links)
        weight = np.broadcast_to(orientation_weight, 3)
        for _ in range(iterations):
            anchors, rotations, position = self._links(q)
            jacobian = self._jacobian(anchors, rotations, position) * moves
            error = target_position - position
            if target_rotation is None:
                jacobian = jacobian[:, :3]
            else:
                turn = weight * rotation_error(rotations[:, -1], target_rotation)
                error = np.concatenate([error, turn], axis=1)
                jacobian[:, 3:] *= weight[:, None]
            step = _damped_step(jacobian, error, eye, max_step)
            # A joint pressed against its limit cannot help; the others must do without it.
            stopped = ((q <= self.lower) & (step < 0)) | ((q >= self.upper) & (step > 0))
            step = _damped_step(jacobian * ~stopped[:, None], error, eye, max_step)
            # A locked joint outside its limits stays where it is.
            q = np.where(moves > 0, np.clip(q + step, self.lower, self.upper), q)
        return q

    def _links(self, q: np.ndarray) -> tuple[Array, Array, Array]:
        """Anchors (N, K, 3) and rotations (N, K, 3, 3) of the links, TCP position (N, 3)."""
        links = len(self.offset)
        q = np.ascontiguousarray(q[:, :links], dtype=np.float64)[:, :, None, None]
        turns = self.fixed + np.sin(q) * self.sine + np.cos(q) * self.cosine
        rotation, anchor = turns[:, 0], np.broadcast_to(self.offset[0], (len(q), 3))
        rotations, anchors = [rotation], [anchor]
        for i in range(1, links):
            anchor = anchor + rotation @ self.offset[i]
            rotation = rotation @ turns[:, i]
            rotations.append(rotation)
            anchors.append(anchor)
        position = anchor + rotation @ self.tool_offset
        return np.stack(anchors, axis=1), np.stack(rotations, axis=1), position

    def _jacobian(self, anchors: Array, rotations: Array, position: Array) -> Array:
        axes = (rotations @ self.axis[:, :, None])[..., 0]
        linear = np.cross(axes, position[:, None] - anchors)
        return np.concatenate([linear, axes], axis=2).transpose(0, 2, 1)


def rpy(rotation: np.ndarray) -> Array:
    """Roll, pitch and yaw (N, 3) in rad of rotations (N, 3, 3): R = Rz(yaw) Ry(pitch) Rx(roll)."""
    return np.stack(
        [
            np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2]),
            np.arcsin(np.clip(-rotation[:, 2, 0], -1, 1)),
            np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]),
        ],
        axis=1,
    )


def yaw_rotation(yaw: np.ndarray) -> Array:
    """Rotations (N, 3, 3) of a tool that points straight down with heading `yaw` (N,) in rad."""
    zero, one = np.zeros_like(yaw), np.ones_like(yaw)
    sin, cos = np.sin(yaw), np.cos(yaw)
    return np.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], axis=1).reshape(-1, 3, 3)


def rotation_error(rotation: np.ndarray, target: np.ndarray) -> Array:
    """Rotation vector (N, 3), rad, base frame, that turns `rotation` into `target` (N, 3, 3)."""
    error = target @ np.ascontiguousarray(rotation.transpose(0, 2, 1))
    axis = np.stack(
        [
            error[:, 2, 1] - error[:, 1, 2],
            error[:, 0, 2] - error[:, 2, 0],
            error[:, 1, 0] - error[:, 0, 1],
        ],
        axis=1,
    )  # 2 sin(angle) times the unit axis
    sine = np.sqrt(axis[:, 0] ** 2 + axis[:, 1] ** 2 + axis[:, 2] ** 2) / 2
    cosine = (error[:, 0, 0] + error[:, 1, 1] + error[:, 2, 2] - 1) / 2
    angle = np.arctan2(sine, cosine)
    scale = np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 1.0)
    return axis / 2 * scale[:, None]


def _damped_step(jacobian: Array, error: Array, damping: Array, max_step: float) -> Array:
    transpose = np.ascontiguousarray(jacobian.transpose(0, 2, 1))
    step = np.linalg.solve(transpose @ jacobian + damping, transpose @ error[:, :, None])
    return np.clip(step[:, :, 0], -max_step, max_step)


def _cross_matrix(v: np.ndarray) -> Array:
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


def _matrix(quat: np.ndarray) -> Array:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)
