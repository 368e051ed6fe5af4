"""A fixed rate: when each control tick is due, and how well that was kept."""

from dataclasses import dataclass

import numpy as np

from so101_robobase.robot.loop.clock import Clock


@dataclass(frozen=True)
class Timing:
    """How a rollout kept its rate; all in ms but the counts.

    `late` is how long after its due time a tick began, `work` what it then took.
    """

    ticks: int
    missed: int  # ticks left out, because another began late
    late_p50: float
    late_p99: float
    late_max: float
    work_p50: float
    work_p99: float
    work_max: float
    interval_p99: float  # between the beginnings of two ticks


class Ticker:
    """Waits for ticks `period` s apart.

    After an over-run ticks are left out, never made up for in a burst: two are half a period apart
    at least. The others keep their times.
    """

    def __init__(self, clock: Clock, period: float):
        self.period = period
        self._clock = clock
        self._due = self._began = clock.now()
        self._late: list[float] = []
        self._work: list[float] = []
        self._interval: list[float] = []
        self.missed = 0

    def restart(self) -> None:
        """The next tick is due one period from now; the time that has passed counts for nothing."""
        self._due = self._began = self._clock.now()

    def wait(self) -> float:
        """Wait for the next tick; returns how late it begins, s."""
        now = self._clock.now()
        self._work.append(now - self._began)
        self._due += self.period
        self._clock.wait_until(self._due)
        now = self._clock.now()
        late = now - self._due
        skipped = int(late / self.period + 0.5)
        self.missed += skipped
        self._due += skipped * self.period
        self._late.append(late)
        self._interval.append(now - self._began)
        self._began = now
        return late

    def timing(self) -> Timing | None:
        """Of all ticks so far; None before the first."""
        if not self._late:
            return None
        late, work, interval = (
            1e3 * np.array(values) for values in (self._late, self._work, self._interval)
        )
        names = [f"{what}_{which}" for what in ("late", "work") for which in ("p50", "p99", "max")]
        values = np.percentile([late, work], [50, 99, 100], axis=1).T.ravel().tolist()
        p99 = float(np.percentile(interval, 99))
        spread = dict(zip(names, values, strict=True))
        return Timing(len(late), self.missed, interval_p99=p99, **spread)
