"""How low the arm reaches: the lowest point of its moving links above the table, and its TCP."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from so101_robobase.arm.model import SO101, ArmModel

Array = NDArray[np.float64]

NUM_DIRECTIONS = 1000
"""Directions in which a link's extreme points are kept: heights are then too great by less than
0.2 mm (`tests/so101_robobase/test_clearance.py` compares with every vertex)."""

_HALVINGS = 8  # of a line search: 1/256 of a step, 0.1 mm at the gripper


class Posture(NamedTuple):
    """Where an arm reaches in one pose or in N of them; metres, base frame, table at z = 0."""

    clearance: Array  # () or (N,): height of the lowest point, negative below the table
    tcp: Array  # (3,) or (N, 3): tool centre point


class Clearance:
    """Geometry of the physics model's meshes and fingers, by forward kinematics.

    The links from the upper arm to both fingers count. Base and shoulder do not: the shoulder
    turns about the vertical, so nothing that a joint does changes its height.

    Args:
        model: the physics model of `arm`; its first joints are the arm's J.
    """

    def __init__(self, model: mujoco.MjModel, arm: ArmModel = SO101):
        self._model = model
        self._data = mujoco.MjData(self._model)
        self._num_joints = arm.num_joints
        self._tcp = self._model.site(arm.tcp_site).id
        self._links = [
            (body, _extreme_points(vertices.tobytes()))
            for body, vertices in link_vertices(self._model).items()
        ]

    def __call__(self, joint_pos: np.ndarray) -> Posture:
        """Posture of joint positions (J,) or (N, J) in rad; about 20 microseconds each."""
        joint_pos = np.asarray(joint_pos, np.float64)
        if joint_pos.ndim == 1:
            return Posture(*self._one(joint_pos))
        rows = [self._one(row) for row in joint_pos]
        return Posture(
            np.array([height for height, _ in rows]),
            np.array([tcp for _, tcp in rows]).reshape(-1, 3),
        )

    def weight(self, joint_pos: np.ndarray) -> Array:
        """Torques (J,) that hold the arm at `joint_pos` (J,) rad, in shares of the servos'."""
        data = self._data
        data.qpos[: self._num_joints] = joint_pos
        mujoco.mj_fwdPosition(self._model, data)
        mujoco.mj_fwdVelocity(self._model, data)  # at no velocity: weight alone
        return data.qfrc_bias[: self._num_joints] / self._model.actuator_forcerange[:, 1]

    def _one(self, joint_pos: np.ndarray) -> tuple[Array, Array]:
        data = self._data
        data.qpos[: self._num_joints] = joint_pos
        mujoco.mj_kinematics(self._model, data)
        position, rotation = data.xpos, data.xmat
        lowest = min(
            position[body, 2] + (points @ rotation[body, 6:]).min() for body, points in self._links
        )
        return np.array(lowest), data.site_xpos[self._tcp].copy()


def furthest(start: Array, end: Array, fits: Callable[[Array], bool]) -> Array:
    """The last pose found to fit on the straight way from `start`, which fits, to `end` (J,)."""
    if fits(end):
        return end
    reached, too_far = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (reached + too_far) / 2
        if fits(start + middle * (end - start)):
            reached = middle
        else:
            too_far = middle
    return start + reached * (end - start)


def furthest_arm_first(start: Array, end: Array, fits: Callable[[Array], bool]) -> Array:
    """As `furthest`, the arm before the gripper: fingers on the table can still be closed."""
    arm = furthest(start, np.append(end[:-1], start[-1]), fits)
    return furthest(arm, np.append(arm[:-1], end[-1]), fits)


def link_vertices(model: mujoco.MjModel) -> dict[int, Array]:
    """Body id -> all vertices (K, 3) of its geoms in the body's frame, m.

    Of every body that the arm's second or a later joint moves; visual and collision geoms alike.
    Primitives stand as the corners of their bounding boxes. A point may be there twice.
    """
    shoulder = int(model.jnt_bodyid[0])
    vertices: dict[int, list[Array]] = {}
    for geom in range(model.ngeom):
        body = int(model.geom_bodyid[geom])
        if body != shoulder and _descends(model, body, shoulder):
            vertices.setdefault(body, []).append(geom_vertices(model, geom))
    return {body: np.concatenate(parts) for body, parts in vertices.items()}


def _descends(model: mujoco.MjModel, body: int, ancestor: int) -> bool:
    while body not in (0, ancestor):
        body = int(model.body_parentid[body])
    return body == ancestor


def geom_vertices(model: mujoco.MjModel, geom: int) -> Array:
    """Vertices (K, 3) in the frame of the geom's body."""
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        start = model.mesh_vertadr[mesh]
        local = model.mesh_vert[start : start + model.mesh_vertnum[mesh]].astype(np.float64)
    else:
        signs = np.stack(np.meshgrid(*[(-1, 1)] * 3), axis=-1).reshape(-1, 3)
        local = model.geom_aabb[geom, :3] + signs * model.geom_aabb[geom, 3:]
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
    return local @ rotation.reshape(3, 3).T + model.geom_pos[geom]


def _directions(number: int) -> Array:
    """Unit vectors (number, 3) spread evenly: the Fibonacci sphere."""
    k = np.arange(number) + 0.5
    height, turn = 1 - 2 * k / number, np.pi * (1 + np.sqrt(5)) * k
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)


@lru_cache(maxsize=32)  # most of a second for an arm, and every arm has the same few links
def _extreme_points(vertices: bytes) -> Array:
    """Those of `vertices`, float64 (K, 3), that reach furthest in one direction, each once."""
    points = np.unique(np.frombuffer(vertices).reshape(-1, 3), axis=0)
    directions = _directions(NUM_DIRECTIONS)
    furthest = np.zeros(len(directions), np.int64)
    for part in np.array_split(np.arange(len(directions)), 10):  # tens of MB at a time
        furthest[part] = (points @ directions[part].T).argmax(axis=0)
    extreme = np.ascontiguousarray(points[np.unique(furthest)])
    extreme.flags.writeable = False
    return extreme
