"""What the loop tells whoever records or shows an episode."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from so101_robobase.arm.control import CONTROL_PERIOD


def ticks_per_record(action_repeat: int) -> int:
    """Control ticks from one `PolicyTick` to the next, of a policy that acts in one of so many.

    It is told of every policy step, and of moments within it where that alone makes a whole number
    of records a second, which LeRobot's datasets need: 25 at an `action_repeat` of 2 and of 4.
    """
    return math.gcd(round(1 / CONTROL_PERIOD), action_repeat)


def records_per_second(action_repeat: int) -> int:
    """`PolicyTick`s in a second of an episode."""
    return round(1 / CONTROL_PERIOD) // ticks_per_record(action_repeat)


@dataclass(frozen=True)
class PolicyTick:
    """One moment of an episode: what the policy saw last, what it wanted, what was sent."""

    time: float  # s since the episode began
    picture: np.ndarray  # (C, H, W) uint8, the newest of the policy's stack
    frame: np.ndarray | None  # (h, w, 3) uint8 BGR that it was made from, where there is a camera
    frame_age: float  # s, from exposure to its use
    measured: np.ndarray  # (6,) servo units
    sent: np.ndarray  # (6,) servo units, after safety; the command of this moment
    joint_pos: np.ndarray  # (6,) rad, `measured` in the model's units
    joint_target: np.ndarray  # (6,) rad, `sent` in the model's units
    action: np.ndarray  # (A,) of the policy, -1 to 1
    latency: float  # s, from reading the joints to sending the command
    value: float | None  # the critic's estimate of the return, where the agent has one


class EpisodeListener(Protocol):
    """Records or shows episodes. Its methods are called between ticks and must return at once."""

    def begin(self, episode: int) -> None:
        """Episode `episode` (from 0) begins."""

    def tick(self, tick: PolicyTick) -> None:
        """The policy has taken a step, or is at a later moment of one; see `ticks_per_record`."""

    def end(self, success: bool | None, keep: bool) -> None:
        """The episode is over: success (None: nobody judged), and whether to keep what was seen."""

    def close(self) -> None:
        """No more episodes; finish what is on disk."""
