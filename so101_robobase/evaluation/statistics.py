"""What a set of evaluation episodes says: success with its interval, means, heights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

HEIGHT_MARKS = (0.02, 0.04, 0.06, 0.08)  # m; the cube's centre rests at 0.015 on the table


@dataclass(frozen=True)
class Episode:
    """One evaluation episode. `cube_z` etc. hold one value per policy step, after that step."""

    index: int
    seed: int
    success: bool
    reward: float  # undiscounted return
    length: int  # control steps
    max_cube_height: float  # m, highest cube centre above the table; nan where not reported
    cube_z: Sequence[float] = field(default=(), repr=False)  # m
    step_reward: Sequence[float] = field(default=(), repr=False)
    is_grasping: Sequence[bool] = field(default=(), repr=False)
    jaw_angle: Sequence[float] = field(default=(), repr=False)  # rad
    gripper_to_cube: Sequence[float] = field(default=(), repr=False)  # m
    time_to_lift: float | None = None  # s from the start to success, to a policy step; None: none
    unstable: bool = False  # ended because the simulation blew up
    cube_start: tuple[float, float] = (math.nan, math.nan)  # m, x and y of its centre

    def first_step_above(self, height: float) -> int | None:
        """First policy step (counted from 1) at which the cube is above `height` m, or None."""
        return next((step for step, z in enumerate(self.cube_z, 1) if z > height), None)


@dataclass(frozen=True)
class Summary:
    """The figures of an evaluation; `success_interval` is Wilson's at `CONFIDENCE`."""

    num_episodes: int
    successes: int
    success_rate: float
    success_interval: tuple[float, float]
    mean_reward: float
    mean_length: float  # control steps
    mean_max_cube_height: float  # m
    best_max_cube_height: float  # m
    time_to_lift: tuple[float, float, float] | None  # s: quartiles of the successes, median second
    unstable_episodes: int


CONFIDENCE = 0.95


def summarise(episodes: Sequence[Episode]) -> Summary:
    """The figures of `episodes` (at least one)."""
    if not episodes:
        raise ValueError("no episodes to summarise")
    successes = sum(episode.success for episode in episodes)
    heights = np.array([episode.max_cube_height for episode in episodes])
    known = heights[~np.isnan(heights)]
    times = [episode.time_to_lift for episode in episodes if episode.time_to_lift is not None]
    first, median, third = np.quantile(times, [0.25, 0.5, 0.75]) if times else [math.nan] * 3
    return Summary(
        num_episodes=len(episodes),
        successes=successes,
        success_rate=successes / len(episodes),
        success_interval=wilson_interval(successes, len(episodes)),
        mean_reward=float(np.mean([episode.reward for episode in episodes])),
        mean_length=float(np.mean([episode.length for episode in episodes])),
        mean_max_cube_height=float(known.mean()) if known.size else math.nan,
        best_max_cube_height=float(known.max()) if known.size else math.nan,
        time_to_lift=(float(first), float(median), float(third)) if times else None,
        unstable_episodes=sum(episode.unstable for episode in episodes),
    )


def wilson_interval(
    successes: int, trials: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Wilson's score interval of a success rate.

    Unlike the normal approximation it stays inside [0, 1] and keeps its width at 0 or 100 %
    observed success (E. B. Wilson, "Probable inference", JASA 22, 1927).
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes of {trials} trials is not a count")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / trials
    denominator = 1 + z**2 / trials
    centre = (rate + z**2 / (2 * trials)) / denominator
    half = z / denominator * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    # At the ends the exact bounds are 0 and 1; rounding would leave them 1e-17 off.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return low, high
