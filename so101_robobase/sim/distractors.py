"""Things on the table that touch nothing: where they lie, and their geoms."""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from so101_robobase.sim.appearance import Distractor, Triple
from so101_robobase.sim.rays import cast_rays

MOST = 12
"""Distractors that a look may have."""

_FINGER_ROOM = 0.03  # m kept free around the cube, so that fingers rarely reach into things

_GEOM = mujoco.mjtGeom
_TYPES = {
    "box": _GEOM.mjGEOM_BOX,
    "sheet": _GEOM.mjGEOM_BOX,
    "cylinder": _GEOM.mjGEOM_CYLINDER,
    "sphere": _GEOM.mjGEOM_SPHERE,
    "ellipsoid": _GEOM.mjGEOM_ELLIPSOID,
    "capsule": _GEOM.mjGEOM_CAPSULE,
}


@dataclass(frozen=True)
class PlacedGeom:
    """A MuJoCo geom: its `size` as in MJCF, position (3,) m and rotation matrix (3, 3)."""

    type: int
    size: np.ndarray
    pos: np.ndarray
    mat: np.ndarray
    color: Triple


def place(
    distractors: Sequence[Distractor], cube_pos: np.ndarray, cube_half_size: float
) -> list[PlacedGeom]:
    """Geoms of `distractors`, moved aside where the cube's centre (3,), m, comes too close.

    A column around the cube is kept free at any height of the cube, so that nothing jumps when it
    is lifted.
    """
    return [_place(distractor, cube_pos[:2], cube_half_size) for distractor in distractors]


def _place(distractor: Distractor, cube_xy: np.ndarray, cube_half_size: float) -> PlacedGeom:
    half_length, half_width, half_height = distractor.half_size
    away = np.array(distractor.position) - cube_xy
    distance = float(np.hypot(*away))
    free = np.sqrt(3) * cube_half_size + _FINGER_ROOM + np.hypot(half_length, half_width)
    if distance < free:
        direction = away / distance if distance > 1e-6 else np.array([1.0, 0.0])
        away = free * direction
    cos, sin = np.cos(distractor.yaw), np.sin(distractor.yaw)
    mat = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    size = np.array(distractor.half_size)
    if distractor.shape == "cylinder":
        size = np.array([half_length, half_height, 0])
    elif distractor.shape == "capsule":  # lies: its own axis, z, along the first
        size = np.array([half_width, half_length - half_width, 0])
        mat = mat @ np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]])
    return PlacedGeom(
        type=_TYPES[distractor.shape],
        size=size,
        pos=np.array([*(cube_xy + away), half_height]),
        mat=mat,
        color=distractor.color,
    )


class DistractorRays:
    """Distances along rays to the nearest of some geoms."""

    def __init__(self) -> None:
        spec = mujoco.MjSpec()
        for _ in range(MOST):
            spec.worldbody.add_geom(type=_GEOM.mjGEOM_BOX, size=[1, 1, 1])
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)

    def cast(self, geoms: Sequence[PlacedGeom], origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        """`rays` (K, 3) from `origin` (3,) -> (K,) distances in lengths of the ray, inf: none."""
        self._data.geom_xpos[:] = [0, 0, -1e6]  # those that are not asked for
        for index, geom in enumerate(geoms):
            self._model.geom_type[index] = geom.type
            self._model.geom_size[index] = geom.size
            bound = float(np.linalg.norm(geom.size)) + float(geom.size.max())
            self._model.geom_rbound[index] = bound
            self._model.geom_aabb[index] = [0, 0, 0, bound, bound, bound]
            self._data.geom_xpos[index] = geom.pos
            self._data.geom_xmat[index] = geom.mat.ravel()
        return cast_rays(self._model, self._data, origin, rays)[1]
