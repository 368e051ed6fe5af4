"""The fixed rate of the loop, on a clock that the test moves."""

import numpy as np
import pytest

from so101_robobase.robot.loop.clock import SimulatedClock
from so101_robobase.robot.loop.ticker import Ticker

PERIOD = 0.02


class Clock(SimulatedClock):
    """Work takes time when `spend` says so."""

    def __init__(self):
        super().__init__(lambda seconds: None)

    def spend(self, seconds):
        self._now += seconds


@pytest.fixture
def clock():
    return Clock()


def begin(clock, works):
    """Times at which ticks began, the first of which come after work of `works` s each."""
    ticker = Ticker(clock, PERIOD)
    begun = []
    for work in works:
        clock.spend(work)
        ticker.wait()
        begun.append(clock.now())
    return np.array(begun), ticker


def test_ticks_keep_the_rate_whatever_the_work_takes(clock):
    begun, ticker = begin(clock, np.random.default_rng(0).uniform(0, PERIOD, 1000))
    np.testing.assert_allclose(begun, PERIOD * np.arange(1, 1001), atol=1e-9)
    assert ticker.missed == 0


def test_a_late_tick_does_not_move_the_others(clock):
    begun, ticker = begin(clock, [0, 0.028, 0, 0])
    np.testing.assert_allclose(begun, [0.02, 0.048, 0.06, 0.08])
    assert ticker.missed == 0


@pytest.mark.parametrize(
    ("work", "next_one", "missed"),
    [(0.035, 0.08, 1), (0.04, 0.08, 1), (0.045, 0.08, 1), (0.055, 0.1, 2), (1.0, 1.04, 49)],
)
def test_after_an_over_run_ticks_are_left_out_not_made_up_for(clock, work, next_one, missed):
    begun, ticker = begin(clock, [0, work, 0, 0])
    np.testing.assert_allclose(begun[1:], [0.02 + work, next_one, next_one + PERIOD])
    assert ticker.missed == missed
    assert np.diff(begun).min() >= PERIOD / 2


def test_wait_returns_how_late_the_tick_is(clock):
    ticker = Ticker(clock, PERIOD)
    assert ticker.wait() == pytest.approx(0)
    clock.spend(0.033)
    assert ticker.wait() == pytest.approx(0.013)


def test_statistics_are_of_lateness_work_and_intervals(clock):
    works = [0.01] * 98 + [0.028, 0.0]
    _, ticker = begin(clock, works)
    timing = ticker.timing()
    assert timing.ticks == 100
    assert timing.late_p50 == pytest.approx(0)
    assert timing.late_max == pytest.approx(8)
    assert timing.work_p50 == pytest.approx(10)
    assert timing.work_max == pytest.approx(28)
    assert timing.work_p99 == pytest.approx(np.percentile(1e3 * np.array(works), 99))
    intervals = [20] * 98 + [28, 12]
    assert timing.interval_p99 == pytest.approx(np.percentile(intervals, 99))


def test_nothing_before_the_first_tick(clock):
    assert Ticker(clock, PERIOD).timing() is None


def test_restart_forgets_the_time_before(clock):
    ticker = Ticker(clock, PERIOD)
    clock.spend(5.0)
    ticker.restart()
    assert ticker.wait() == pytest.approx(0)
    assert clock.now() == pytest.approx(5.02)
    assert ticker.timing().work_max == pytest.approx(0)
    assert ticker.missed == 0
