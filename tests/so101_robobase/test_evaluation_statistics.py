"""Claims about the figures of an evaluation."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from so101_robobase.evaluation.statistics import Episode, summarise, wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # computed by hand from Wilson's formula with z = 1.959964
        (0, 10, 0.0, 0.27753),
        (5, 10, 0.23659, 0.76341),
        (10, 10, 0.72247, 1.0),
        (95, 100, 0.88825, 0.97846),
        (98, 100, 0.92999, 0.99450),
    ],
)
def test_wilson_interval_equals_hand_computed_values(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=2e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_lies_in_unit_range_and_holds_the_rate(counts):
    successes, trials = counts
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert high - low > 0
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("counts", [(1, 0), (3, 2), (-1, 5), (0, 0)])
def test_wilson_interval_refuses_impossible_counts(counts):
    with pytest.raises(ValueError, match="not a count"):
        wilson_interval(*counts)


def _episode(index, success, reward, cube_z):
    return Episode(
        index, 100 + index, success, reward, 2 * len(cube_z), max(cube_z, default=math.nan), cube_z
    )


def test_summary_gives_rate_means_and_the_best_height():
    episodes = [_episode(0, True, 10.0, [0.015, 0.09, 0.05]), _episode(1, False, 4.0, [0.03])]
    summary = summarise(episodes)
    assert summary.success_rate == 0.5
    assert summary.successes == 1
    assert summary.mean_reward == 7.0
    assert summary.mean_length == 4.0
    assert summary.mean_max_cube_height == pytest.approx(0.06)
    assert summary.best_max_cube_height == pytest.approx(0.09)


def test_time_to_lift_is_told_in_quartiles_of_the_successes():
    times = [1.0, 2.0, 3.0, 4.0, 10.0]
    episodes = [Episode(k, k, True, 0.0, 2, 0.1, time_to_lift=t) for k, t in enumerate(times)]
    assert summarise([*episodes, Episode(5, 5, False, 0.0, 2, 0.1)]).time_to_lift == (2, 3, 4)
    assert summarise([Episode(0, 0, False, 0.0, 2, 0.1)]).time_to_lift is None


def test_summary_without_reported_heights_is_nan_not_an_error():
    summary = summarise([_episode(0, False, 0.0, [])])
    assert math.isnan(summary.mean_max_cube_height)
    assert math.isnan(summary.best_max_cube_height)


def test_first_step_above_counts_from_one_and_needs_more_than_the_mark():
    episode = _episode(0, False, 0.0, [0.015, 0.02, 0.021, 0.05])
    assert episode.first_step_above(0.02) == 3
    assert episode.first_step_above(0.04) == 4
    assert episode.first_step_above(0.06) is None
