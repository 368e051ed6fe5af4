"""The best evaluation is the one that succeeds most."""

import math

from so101_robobase.training.keeper import by_success


def _metrics(success, reward):
    return {"episode_success": success, "episode_reward": reward}


def test_success_beats_reward_and_reward_breaks_ties():
    assert by_success(_metrics(0.6, 10.0)) > by_success(_metrics(0.5, 1000.0))
    assert by_success(_metrics(0.5, 11.0)) > by_success(_metrics(0.5, 10.0))
    assert by_success(_metrics(0.5, 10.0)) == by_success(_metrics(0.5, 10.0))


def test_missing_and_undefined_metrics_rank_last():
    worst = by_success(_metrics(0.0, -1e9))
    assert by_success({}) < worst
    assert by_success({"episode_reward": 5.0}) < worst
    assert by_success(_metrics(math.nan, 5.0)) < worst
    assert by_success(_metrics(0.0, math.nan)) < worst
