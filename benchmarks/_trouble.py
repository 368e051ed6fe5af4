"""How long trouble lasts: from a fault's first effect until the loop is well again or torque off.

Judged by what servos and joints did, not by what the loop says of itself; times are s of the
monotonic clock.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from _audit import Witness

from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.robot.emulator.shared import LIMP

Interval = tuple[float, float]


class Torque:
    """Which servos had torque when.

    Args:
        events: of one rollout, as `EmulatedBus.events` gives them.
        limp: (6,) bool, before them.
    """

    def __init__(self, events: np.ndarray, limp: np.ndarray):
        state = np.array(limp, bool)
        self._times, self._states = [-np.inf], [state]
        for event in events[events["kind"] == LIMP]:
            state = state.copy()
            state[event["joint"]] = event["value"]
            self._times.append(float(event["time"]))
            self._states.append(state)

    @property
    def all_off(self) -> bool:
        """At the end."""
        return bool(self._states[-1].all())

    @property
    def last_off(self) -> float:
        """Since when it is off in all servos; inf where it is not."""
        if not self.all_off:
            return np.inf
        on = [k for k, state in enumerate(self._states) if not state.all()]
        return self._times[on[-1] + 1] if on else -np.inf

    @property
    def first_on(self) -> float:
        """When the first servo got it; inf where none did."""
        on = (t for t, state in zip(self._times, self._states, strict=True) if not state.all())
        return next(on, np.inf)

    def on_everywhere(self, time: float) -> bool:
        """Whether all servos had it."""
        state = self._states[int(np.searchsorted(self._times, time, side="right")) - 1]
        assert state.shape == (NUM_JOINTS,)
        return not state.any()


class Course(NamedTuple):
    """What is known of one rollout with one fault."""

    witness: Witness
    torque: Torque
    held: Sequence[Interval]  # the loop sent nothing
    stopped: float | None  # when it was cut short; None: it came to its end
    reachable: float  # since when servos could be told to let go; -inf: always


def longest(rollout: Course, first: float, active: Interval | None = None) -> float:
    """The longest time without a sign that all is well, s.

    Such a sign is a reading at a moment at which all servos have torque, the loop does not hold and
    the fault is not `active`; or, for good, the end of the rollout with torque off. Trouble begins
    with the fault's `first` effect, at the earliest when a servo has torque.
    """
    begin = max(first, rollout.torque.first_on)
    if not np.isfinite(begin):
        return 0.0
    well = [time for time in _readings(rollout) if time > begin and _is_well(rollout, time, active)]
    moments = [begin, *well]
    off = rollout.torque.last_off
    if rollout.stopped is not None:
        ends = max(rollout.stopped, begin)
        safe = off - max(moments[-1], rollout.reachable)
        return max(_longest_gap([*moments, ends]), safe)
    released = rollout.witness.releases[-1].before.time
    last = [] if begin > released else [*moments, released]
    return max(_longest_gap(last), off - max(released, begin, rollout.reachable))


def _readings(rollout: Course) -> list[float]:
    return [read.reading.time for read in rollout.witness.reads if read.reading is not None]


def _is_well(rollout: Course, time: float, active: Interval | None) -> bool:
    if active is not None and active[0] <= time < active[1]:
        return False
    held = any(begin <= time < end for begin, end in rollout.held)
    return not held and rollout.torque.on_everywhere(time)


def _longest_gap(moments: Sequence[float]) -> float:
    return float(np.diff(moments).max(initial=0.0))
