"""Whether two models show the same arm: their joints' axes as lines in space, at zero angles.

Models of one arm differ in where its joints have their zero, in which way they turn and in how its
base stands; the lines of one then turn into those of the other, joint by joint from the base.
"""

from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TOLERANCE = 0.0005  # m, and a tenth of a radian per cm: models of one arm agree to 0.02 mm
_UNCLEAR = 1e-4  # m or 1: a shorter vector has no direction


class Chain(NamedTuple):
    """Axes of J joints in the base's frame: points on them (J, 3) m, unit directions (J, 3)."""

    points: Array
    axes: Array

    @classmethod
    def of(cls, model: mujoco.MjModel, names: tuple[str, ...]) -> "Chain":
        """The joints `names` of a compiled model, at zero."""
        data = mujoco.MjData(model)
        data.qpos[:] = 0
        mujoco.mj_kinematics(model, data)
        joints = [model.joint(name).id for name in names]
        return cls(data.xanchor[joints].copy(), data.xaxis[joints].copy())


class Fit(NamedTuple):
    """How one chain becomes another: its base is moved, its joints have another zero and sense."""

    rotation: Array  # (3, 3) of the base
    position: Array  # (3,) m of the base
    zero: Array  # (J,) rad: the joints where the other's are at zero
    sense: Array  # (J,) 1 or -1: whether they turn as the other's
    distance: float  # m, the greatest between axes that should be one
    joint: int  # the first whose axis has no place, J where all have one


def fit(chain: Chain, wanted: Chain) -> Fit:
    """The motion of `chain` that brings its axes nearest to those of `wanted`.

    Both bases stand upright, and the base turns about the vertical alone: upside down the same axes
    could be reached as well.
    """
    zero = np.zeros(len(chain.axes))
    position = _nearest(wanted, 0) - _nearest(chain, 0)
    there = Chain(chain.points + position, chain.axes)
    apart = _apart(there, wanted, 0)
    if apart > TOLERANCE:
        return Fit(np.eye(3), position, zero, zero + 1, apart, 0)
    return _turn(there, np.eye(3), position, wanted, 0, zero, apart)


def _rank(found: Fit) -> tuple[int, float]:
    return -found.joint, found.distance


def _turn(
    chain: Chain,
    rotation: Array,
    position: Array,
    wanted: Chain,
    joint: int,
    zero: Array,
    distance: float,
) -> Fit:
    """Turn what hangs on `joint`, whose axis is in place, until the next axis is; and so on."""
    sense = np.where((chain.axes * wanted.axes).sum(axis=1) < 0, -1.0, 1.0)
    if joint + 1 == len(zero):
        return Fit(rotation, position, sense * zero, sense, distance, joint + 1)
    axis, pivot = wanted.axes[joint], wanted.points[joint]
    fits = []
    for angle in _angles(chain, wanted, joint):
        turn = _rotation(axis, angle)
        rest = slice(joint + 1, None)
        points, axes = chain.points.copy(), chain.axes.copy()
        points[rest] = pivot + (points[rest] - pivot) @ turn.T
        axes[rest] = axes[rest] @ turn.T
        turned = Chain(points, axes)
        apart = _apart(turned, wanted, joint + 1)
        if apart > TOLERANCE:
            fits.append(Fit(rotation, position, zero, sense, apart, joint + 1))
            continue
        if joint == 0:  # the base turns with it: a pan that points forward is at zero
            base = turn @ rotation, pivot + turn @ (position - pivot)
            fits.append(_turn(turned, *base, wanted, 1, zero, max(distance, apart)))
        else:
            at = zero.copy()
            at[joint] = angle
            further = max(distance, apart)
            fits.append(_turn(turned, rotation, position, wanted, joint + 1, at, further))
    return min(fits, key=_rank)


def _angles(chain: Chain, wanted: Chain, joint: int) -> list[float]:
    """By which `joint` may have to turn: its next axis goes through a place, or in a direction."""
    axis = wanted.axes[joint]
    pairs = [(_away(chain, joint), _away(wanted, joint))]
    for sense in (1, -1):
        pairs.append((sense * chain.axes[joint + 1], wanted.axes[joint + 1]))
    angles = []
    for start, end in pairs:
        start, end = (vector - axis * (vector @ axis) for vector in (start, end))
        if min(np.linalg.norm(start), np.linalg.norm(end)) > _UNCLEAR:
            angles.append(float(np.arctan2(axis @ np.cross(start, end), start @ end)))
    return angles or [0.0]


def _nearest(chain: Chain, joint: int) -> Array:
    """The point of the axis of `joint` that is nearest to the next axis."""
    a, b = chain.axes[joint], chain.axes[joint + 1]
    normal = np.cross(a, b)
    between = chain.points[joint + 1] - chain.points[joint]
    squared = normal @ normal
    along = np.cross(between, b) @ normal / squared if squared > _UNCLEAR else between @ a
    return chain.points[joint] + along * a


def _away(chain: Chain, joint: int) -> Array:
    """From the axis of `joint` to the next one, the shortest way."""
    here, axis = _nearest(chain, joint), chain.axes[joint + 1]
    between = chain.points[joint + 1] - here
    return between - axis * (between @ axis)


def _apart(chain: Chain, wanted: Chain, joint: int) -> float:
    """m between two axes, and 1 cm per tenth of a radian that they are not parallel."""
    axis = wanted.axes[joint]
    between = chain.points[joint] - wanted.points[joint]
    distance = np.linalg.norm(between - axis * (between @ axis))
    return float(distance + 0.1 * np.linalg.norm(np.cross(chain.axes[joint], axis)))


def _rotation(axis: Array, angle: float) -> Array:
    quat, matrix = np.empty(4), np.empty(9)
    mujoco.mju_axisAngle2Quat(quat, axis, angle)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)
