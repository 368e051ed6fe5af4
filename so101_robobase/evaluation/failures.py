"""Why an episode of the lift failed, and when to look at it; read from its recorded steps."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from so101_robobase.evaluation.statistics import Episode
from so101_robobase.tasks.lift.rewards import OFF_TABLE_HEIGHT

NEAR = 0.05  # m between TCP and cube centre; fingers that close around a cube come within 0.03
LIFT_STEPS = 20  # policy steps; the scripted expert lifts a grasped cube in about 12


class Cause(StrEnum):
    """What kept a cube from being lifted, from the first thing that may go wrong to the last."""

    UNSTABLE = "the physics blew up"
    NEVER_NEAR = "never came near"
    NEVER_GRASPED = "never grasped"
    LOST = "lost on the table"
    SLIPPED = "slipped while lifting"
    DROPPED = "dropped"
    TOO_LOW = "held too low"
    LATE = "time ran out"


def cause(episode: Episode, lift_height: float) -> Cause | None:
    """Why `episode` failed; None where it did not.

    | cause                 | the recorded steps say                                           |
    |-----------------------|------------------------------------------------------------------|
    | the physics blew up   | the simulation was unstable                                      |
    | never came near       | never grasped, the gripper stayed farther than `NEAR`            |
    | never grasped         | it came near, both fingers never held the cube                   |
    | lost on the table     | held, gone at the end; never off the table while it was held     |
    | slipped while lifting | held, gone at the end; off the table, below the lift height      |
    | dropped               | held, gone at the end; it had been above the lift height         |
    | held too low          | held at the end for `LIFT_STEPS`, below the lift height          |
    | time ran out          | held at the end, since a shorter time or above the lift height   |

    Args:
        lift_height: what the task asks for, m.
    """
    if episode.success:
        return None
    if episode.unstable:
        return Cause.UNSTABLE
    held, height = np.array(episode.is_grasping, bool), np.array(episode.cube_z)
    if not held.any():
        nearest = min(episode.gripper_to_cube, default=np.inf)
        return Cause.NEVER_NEAR if nearest > NEAR else Cause.NEVER_GRASPED
    if held[-1]:
        patient = held[-LIFT_STEPS:].all() and len(held) >= LIFT_STEPS
        return Cause.TOO_LOW if patient and height[-1] <= lift_height else Cause.LATE
    highest = height[held].max()
    if highest > lift_height:
        return Cause.DROPPED
    return Cause.SLIPPED if highest > OFF_TABLE_HEIGHT else Cause.LOST


def causes(episodes: Sequence[Episode], lift_height: float) -> dict[Cause, list[int]]:
    """The indices of the failed `episodes` by cause, most frequent first."""
    found: dict[Cause, list[int]] = {}
    for episode in episodes:
        if (why := cause(episode, lift_height)) is not None:
            found.setdefault(why, []).append(episode.index)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def moments(episode: Episode) -> dict[int, str]:
    """The moments that tell most of an episode: how many policy steps after the start -> what."""
    told = {int(np.argmax(episode.cube_z)) + 1: "cube highest"}
    if any(episode.is_grasping):
        told[list(episode.is_grasping).index(True) + 1] = "first grasp"
    else:
        told[int(np.argmin(episode.gripper_to_cube)) + 1] = "gripper nearest"
    told |= {0: "start", len(episode.cube_z): "end"}
    return dict(sorted(told.items()))
