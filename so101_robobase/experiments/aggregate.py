"""What runs over seeds say together, as Agarwal et al. propose ("Deep RL at the edge of the
statistical precipice", NeurIPS 2021): interquartile mean, stratified bootstrap intervals,
performance profile, probability of improvement.

Their package rliable (1.2.0) wants arch below 8, which cannot be imported with pandas 3, and as
many seeds for every task. Here it is a page of NumPy that gives the same figures.

Scores are success rates, a list per task with one number per run; tasks are the strata.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from so101_robobase.evaluation.statistics import CONFIDENCE

Scores = Sequence[NDArray[np.float64]]
"""Per task the scores of its runs, (runs,)."""

Statistic = Callable[[Scores], float]

REPETITIONS = 2000
"""Of a bootstrap, as in the paper."""

SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A figure and its percentile bootstrap interval."""

    value: float
    low: float
    high: float


def interquartile_mean(scores: Scores) -> float:
    """Mean of the middle half of all runs of all tasks; what a quarter cuts is cut in part.

    With whole runs alone, as `scipy.stats.trim_mean` has them, three seeds would be their mean.
    """
    values = np.sort(np.concatenate(scores))
    edges = np.linspace(0, 1, len(values) + 1)
    weights = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0, None)
    return float(values @ weights / weights.sum())


def mean(scores: Scores) -> float:
    """Of the tasks' means."""
    return float(np.mean([values.mean() for values in scores]))


def estimate(scores: Scores, statistic: Statistic, repetitions: int = REPETITIONS) -> Estimate:
    """`statistic` with its interval; runs are drawn anew within each task."""
    generator = np.random.default_rng(SEED)
    drawn = [statistic(_redrawn(scores, generator)) for _ in range(repetitions)]
    return _estimate(statistic(scores), drawn)


def improvement(ours: Scores, theirs: Scores, repetitions: int = REPETITIONS) -> Estimate:
    """Probability that a run of `ours` scores higher than one of `theirs`; ties count half."""
    generator = np.random.default_rng(SEED)
    drawn = [
        _superiority(_redrawn(ours, generator), _redrawn(theirs, generator))
        for _ in range(repetitions)
    ]
    return _estimate(_superiority(ours, theirs), drawn)


def profile(scores: Scores, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of runs that score more than each level, mean over tasks; (levels,)."""
    shares = [(values[:, None] > levels).mean(axis=0) for values in scores]
    return np.mean(shares, axis=0)


def profile_band(
    scores: Scores, levels: NDArray[np.float64], repetitions: int = REPETITIONS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper end of the profile's pointwise intervals, (levels,) each."""
    generator = np.random.default_rng(SEED)
    drawn = [profile(_redrawn(scores, generator), levels) for _ in range(repetitions)]
    low, high = np.quantile(drawn, _TAILS, axis=0)
    return low, high


_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def _redrawn(scores: Scores, generator: np.random.Generator) -> Scores:
    return [generator.choice(values, len(values)) for values in scores]


def _superiority(ours: Scores, theirs: Scores) -> float:
    """Mann-Whitney's U per pair of runs, mean over the tasks."""
    shares = []
    for mine, other in zip(ours, theirs, strict=True):
        difference = mine[:, None] - other
        shares.append((difference > 0).mean() + (difference == 0).mean() / 2)
    return float(np.mean(shares))


def _estimate(value: float, drawn: Sequence[float]) -> Estimate:
    low, high = np.quantile(drawn, _TAILS)
    return Estimate(value, float(low), float(high))
