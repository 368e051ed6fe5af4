"""Which evaluation is the best: the one that succeeds most."""

import math
from collections.abc import Mapping


def by_success(metrics: Mapping[str, float]) -> tuple[float, float]:
    """Rank an evaluation by `(episode_success, episode_reward)`; greater is better.

    A metric that is missing or not a number ranks below every value.
    """
    return _rank(metrics, "episode_success"), _rank(metrics, "episode_reward")


def _rank(metrics: Mapping[str, float], name: str) -> float:
    value = float(metrics.get(name, -math.inf))
    return -math.inf if math.isnan(value) else value
