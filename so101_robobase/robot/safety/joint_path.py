"""Slow moves to a pose: planned past the table, waiting where the arm cannot follow."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from robobase.errors import UserError
from so101_robobase.arm.clearance import furthest
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.safety.filter import SafetyFilter

Array = NDArray[np.float64]

PATIENCE = 50
"""Control ticks, 1 s, for which an arm may keep a move from going on."""

_FOLDING = slice(1, 4)  # shoulder_lift, elbow_flex, wrist_flex
_RAISED = np.array([-0.8, 0.3, 1.0])  # rad: gripper over the middle of the table, 0.2 m up
_AHEAD = 1.0  # rad: shoulder_pan of raised poses, either way; further, they leave the workspace
_WRIST_UP = 0.0  # rad: lifts the fingers of a folded arm off the table
_PEAK = 1.875  # greatest speed of a minimum-jerk move over its mean
_CLOSE = 1e-6  # rad, between a command and what the filter made of it


class UnreachableError(UserError):
    """There is no safe way to a pose, or something keeps the arm from going on."""


def joint_path(start: np.ndarray, goal: np.ndarray, safety: SafetyFilter) -> Iterator[Array]:
    """Targets (6,) rad from `start` to `goal`, to be given to `safety.filter`, one per tick.

    Where the filter holds a target back, because the measured arm is behind, it is repeated. Ends
    at `goal`, or, if limits forbid that, at the pose nearest to it that `plan` finds.

    Raises:
        UnreachableError: no plan, before the first target; or no progress within `PATIENCE`.
    """
    for target in plan(start, goal, safety):
        yield target
        waited = 0
        while np.abs(safety.command - target).max() > _CLOSE:
            waited += 1
            if waited > PATIENCE:
                behind = JOINTS[int(np.abs(safety.command - target).argmax())]
                raise UnreachableError(
                    f"the arm does not follow on its way: {behind} is held back; "
                    "free the arm and see that nothing is in its way, then start again"
                )
            yield target


def plan(start: np.ndarray, goal: np.ndarray, safety: SafetyFilter) -> Array:
    """Targets (T, 6) rad, one per tick, from `start` (excluded) to `goal` or near it.

    Straight in joint space with minimum jerk at `slow_speed`; where that would come too low or
    leave the workspace, over a raised pose. No target violates the limits more than the one before.

    Raises:
        UnreachableError: nothing of that passes.
    """
    goal = _allowed(np.asarray(goal, np.float64), safety)
    start = np.asarray(start, np.float64)
    for waypoints in _ways(start, goal):
        path = np.concatenate(
            [
                _straight(here, there, np.array(safety.limits.slow_speed))
                for here, there in zip([start, *waypoints], [*waypoints, goal], strict=True)
            ]
        )
        if _passes(np.vstack([start, path]), safety):
            return path
    raise UnreachableError(
        f"there is no safe way for the arm from {_degrees(start)} to {_degrees(goal)} degrees; "
        "raise the gripper above the table's middle by hand and start again"
    )


def _allowed(goal: Array, safety: SafetyFilter) -> Array:
    """`goal`, or the last pose that keeps the limits on the way to it from the raised pose."""
    goal = np.clip(goal, safety.lower, safety.upper)
    return furthest(_raised(goal), goal, lambda pose: safety.violation(pose) == 0)


def _ways(start: Array, goal: Array) -> Iterator[list[Array]]:
    """Poses to go by, the simplest first."""
    yield []
    over = [_raised(start), _raised(goal)]
    yield [_with_wrist_up(start), *over]
    yield [*over, _with_wrist_up(goal)]
    yield [_with_wrist_up(start), *over, _with_wrist_up(goal)]


def _raised(pose: Array) -> Array:
    raised = pose.copy()
    raised[0] = np.clip(raised[0], -_AHEAD, _AHEAD)
    raised[_FOLDING] = _RAISED
    return raised


def _with_wrist_up(pose: Array) -> Array:
    raised = pose.copy()
    raised[JOINTS.index("wrist_flex")] = min(_WRIST_UP, raised[JOINTS.index("wrist_flex")])
    return raised


def _straight(start: Array, goal: Array, speed: Array) -> Array:
    """(T, 6), none where there is no way to go."""
    seconds = _PEAK * float((np.abs(goal - start) / speed).max())
    ticks = int(np.ceil(seconds / CONTROL_PERIOD - 1e-9))
    share = np.arange(1, ticks + 1) / max(ticks, 1)
    eased = share**3 * (10 - 15 * share + 6 * share**2)
    return start + eased[:, None] * (goal - start)


def _passes(path: Array, safety: SafetyFilter) -> bool:
    violations = np.array([safety.violation(pose) for pose in path])
    return bool((np.diff(violations) <= 0).all())


def _degrees(pose: Array) -> list[int]:
    return [round(float(angle)) for angle in np.rad2deg(pose)]
