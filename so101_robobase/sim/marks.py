"""Squares on the table that a task brings along: to be seen, not to be felt.

Each is a class of its own and lies elsewhere in every simulation: two sliding joints after the
cube's, which nothing moves, so that a state says where it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

_THICKNESS = 0.0005  # m; higher and a camera sees its side, lower and it flickers with the table
_MASS = 0.01  # kg: a joint needs something to move


@dataclass(frozen=True)
class Mark:
    """One square.

    Attributes:
        name: of its class and of its body.
        half_size: m, half its edge.
        rgba: its colour.
    """

    name: str
    half_size: float
    rgba: tuple[float, float, float, float]


def add_marks(spec: mujoco.MjSpec, marks: Sequence[Mark], group: int) -> None:
    """Add `marks` to a scene whose table's top is at z = 0; their geoms are of the geom `group`."""
    for mark in marks:
        body = spec.worldbody.add_body(name=mark.name, pos=[0, 0, _THICKNESS])
        for axis, direction in (("x", [1, 0, 0]), ("y", [0, 1, 0])):
            body.add_joint(
                name=f"{mark.name}.{axis}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=direction
            )
        body.add_geom(
            name=mark.name,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[mark.half_size, mark.half_size, _THICKNESS],
            mass=_MASS,
            rgba=mark.rgba,
            contype=0,
            conaffinity=0,
            group=group,
        )


def class_marks(
    model: mujoco.MjModel, marks: Sequence[Mark], classes: np.ndarray, first: int
) -> None:
    """Give the geoms of `marks` in `classes` (ngeom,) the class ids from `first` on."""
    for number, mark in enumerate(marks, first):
        classes[model.geom(mark.name).id] = number
