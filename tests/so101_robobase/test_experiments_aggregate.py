"""Claims about what runs over seeds say together."""

import numpy as np
import pytest

from so101_robobase.experiments.aggregate import (
    estimate,
    improvement,
    interquartile_mean,
    mean,
    profile,
    profile_band,
)


def scores(*tasks):
    return [np.array(task, dtype=float) for task in tasks]


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert interquartile_mean(scores([0, 1, 2, 3, 4, 5, 6, 100])) == pytest.approx(3.5)


def test_of_a_number_that_four_does_not_divide_runs_are_cut_in_part():
    # Half of three runs is 1.5: the middle one whole, a quarter of each neighbour.
    assert interquartile_mean(scores([0, 0.6, 0.9])) == pytest.approx((0.6 + 0.9 / 4) / 1.5)
    assert interquartile_mean(scores([0.4])) == pytest.approx(0.4)


def test_the_interquartile_mean_is_over_the_runs_of_all_tasks():
    assert interquartile_mean(scores([0, 1], [1, 0])) == pytest.approx(0.5)
    assert mean(scores([0, 1, 1, 1], [0])) == pytest.approx(0.375)


def test_an_interval_holds_the_figure_and_is_the_same_every_time():
    drawn = scores(np.random.default_rng(1).normal(0.5, 0.1, 20))
    first, second = (estimate(drawn, interquartile_mean, 500) for _ in range(2))
    assert first == second
    assert first.low < first.value < first.high
    assert 0.02 < first.high - first.low < 0.15


def test_tasks_are_strata_whose_differences_widen_no_interval():
    apart = estimate(scores([0, 0, 0], [1, 1, 1]), mean, 200)
    mixed = estimate(scores([0, 0, 0, 1, 1, 1]), mean, 200)
    assert (apart.low, apart.high) == (0.5, 0.5)
    assert mixed.low < 0.3 < 0.7 < mixed.high


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [([1, 2], [0, 0.5], 1), ([0, 0.5], [1, 2], 0), ([1, 1], [1, 1], 0.5), ([0, 2], [1], 0.5)],
)
def test_probability_of_improvement_counts_pairs_and_half_of_ties(ours, theirs, expected):
    assert improvement(scores(ours), scores(theirs), 50).value == expected


def test_a_profile_falls_from_one_to_nothing_within_its_band():
    levels = np.linspace(0, 1, 11)
    runs = scores([0.2, 0.5, 0.95], [0.4, 0.7])
    shares = profile(runs, levels)
    low, high = profile_band(runs, levels, 200)
    assert (shares[0], shares[-1]) == (1, 0)
    assert shares[3] == pytest.approx((2 / 3 + 1) / 2)
    assert (np.diff(shares) <= 0).all()
    assert ((low <= shares) & (shares <= high)).all()
