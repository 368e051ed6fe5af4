"""Watches bus, camera, servos, policy and the loop itself; says go on, hold or stop, and why.

Holding means: no new command, the servos keep the last one. Stopping means: the rollout is over.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.loop.driver import MotorHealth
from so101_robobase.robot.safety.bounds import Bounds, keep_within


class VerdictKind(StrEnum):
    """What the loop may do in this tick."""

    GO = "go"
    HOLD = "hold"
    STOP = "stop"


GO, HOLD, STOP = VerdictKind


class Verdict(NamedTuple):
    """What to do, and in words why; the reason is empty where all is well."""

    kind: VerdictKind
    reason: str


def worst(found: Iterable[Verdict]) -> Verdict:
    """The worst kind of them, with all its reasons; go on where there are none."""
    found = list(found)
    for kind in (STOP, HOLD):
        if reasons := [verdict.reason for verdict in found if verdict.kind == kind]:
            return Verdict(kind, "; ".join(reasons))
    return Verdict(GO, "")


ALLOWED: Bounds = {
    "reading_hold": (0.001, 0.04),
    "reading_stop": (0.001, 0.1),
    "frame_hold": (0.001, 0.5),
    "frame_stop": (0.001, 1.0),
    "temperature_hold": (20.0, 65.0),
    "temperature_stop": (20.0, 70.0),
    "load": (0.05, 1.0),
    "load_hold": (0.0, 1.0),
    "load_stop": (0.0, 3.0),
    "voltage_low": (4.5, 8.4),
    "voltage_high": (9.0, 13.0),
    "voltage_stop": (0.0, 3.0),
    "health_hold": (0.1, 5.0),
    "health_stop": (0.1, 10.0),
    "late": (0.0, 0.05),
    "late_ticks": (1, 20),
    "bad_actions": (1, 20),
}
"""Least and greatest value of every limit: each can be tightened, none switched off."""


@dataclass(frozen=True)
class MonitorLimits:
    """When to hold and when to stop; s, degrees Celsius, V.

    Raises UserError for a value outside `ALLOWED`, or one at which stopping comes before holding.

    Attributes:
        reading_hold, reading_stop: age of the joint state: one control tick, two.
        frame_hold, frame_stop: age of the last good camera frame while frames are watched, or how
            long bad ones have come among good ones. A 30 Hz camera and its networks take 0.1 s.
        temperature_hold, temperature_stop: of any servo. An STS3215 drops its torque by itself at
            its own limit, by default 70 degrees; the arm must be at rest before that.
        load: share of the greatest torque, either way, above which a servo is overloaded: for
            `load_hold` s hold, for `load_stop` s stop. Accelerating takes that much for an instant;
            against an obstacle it lasts, and after about 2 s the servo gives way by itself.
        voltage_low, voltage_high: ranges that are right for an arm of 7.4 V servos (fed with 5 to
            7.4 V) and of 12 V servos; a servo's first measurement says which it is. Outside, hold;
            for `voltage_stop` s, stop: a weak supply sags while the arm accelerates.
        health_hold, health_stop: since a servo last told how it is. The loop asks each every 0.6 s.
        late: by which a control tick may begin after it is due: one tick. Hold in a later one;
            stop when `late_ticks` in succession are.
        bad_actions: stop when so many actions in succession held nan or inf. Meanwhile the safety
            filter holds the arm.
    """

    reading_hold: float = CONTROL_PERIOD
    reading_stop: float = 2 * CONTROL_PERIOD
    frame_hold: float = 0.2
    frame_stop: float = 0.5
    temperature_hold: float = 60.0
    temperature_stop: float = 65.0
    load: float = 0.95
    load_hold: float = 0.5
    load_stop: float = 1.0
    voltage_low: tuple[float, float] = (4.5, 8.4)
    voltage_high: tuple[float, float] = (10.0, 13.0)
    voltage_stop: float = 1.0
    health_hold: float = 2.0
    health_stop: float = 4.0
    late: float = CONTROL_PERIOD
    late_ticks: int = 5
    bad_actions: int = 5

    def __post_init__(self) -> None:
        keep_within(self, "monitor", ALLOWED)
        for name in ("reading", "frame", "temperature", "load", "health"):
            hold, stop = f"{name}_hold", f"{name}_stop"
            if getattr(self, hold) > getattr(self, stop):
                raise UserError(f"monitor.{hold} must not be above monitor.{stop}")


_STOPPING = {
    "overload": "is overloaded",
    "overheat": "is too hot",
    "overcurrent": "draws too much current",
    "angle": "has lost its position",
}  # complaints of servos; "voltage" is judged like a voltage out of range, others stop as well


_ROUNDING = 1e-6  # s: a state exactly two ticks old is not older than two ticks


class _Lasting:
    """Since when something has been wrong, by what was measured."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.seconds = 0.0

    def note(self, wrong: bool, now: float) -> None:
        if not wrong:
            self.first = None
        elif self.first is None:
            self.first = now
        self.seconds = 0.0 if self.first is None else now - self.first

    def __bool__(self) -> bool:
        return self.first is not None


class _Servo:
    """What is known of one servo."""

    def __init__(self, heard: float):
        self.heard = heard  # when it last told how it is
        self.health: MotorHealth | None = None
        self.voltage_range: tuple[float, float] | None = None
        self.bad_voltage, self.overloaded = _Lasting(), _Lasting()


class Monitor:
    """Told by the loop what happens; asked by it once per tick what it may do.

    A stop is for good. All times are of the loop's clock, s.
    """

    def __init__(self, limits: MonitorLimits | None = None):
        self.limits = limits or MonitorLimits()
        self._now = -np.inf
        self._reading: float | None = None
        self._answered = True
        self._frame: float | None = None  # when the last good one was taken
        self._bad_frames: tuple[float, float] | None = None  # first was taken, last was seen
        self._bad_because = ""
        self._frames_watched = True
        self._frames_since: float | None = None  # from when a frame's age counts
        self._servos: dict[str, _Servo] = {}
        self._silent = _Lasting()
        self._alarms: dict[str, tuple[str, ...]] = {}
        self._low_voltage = _Lasting()
        self._late, self._late_ticks = 0.0, 0
        self._bad_actions = 0
        self._stopped: Verdict | None = None

    def on_reading(self, ok: bool, time: float) -> None:
        """The joints were measured at `time`, or, where not `ok`, did not answer then."""
        self._answered = ok
        if ok:
            self._reading = time
        self._passes(time)

    def on_frame(self, time: float) -> None:
        """The newest camera frame was taken at `time` and is good."""
        self._frame = time
        if not self._bad_lately(self._now):
            self._bad_frames = None

    def on_bad_frame(self, time: float, because: str, last_good: float | None = None) -> None:
        """The newest camera frame, taken at `time`, shows nothing that may be acted on.

        Args:
            because: why, in words.
            last_good: when the last good one was taken, where that is known only now.
        """
        first = time if self._bad_frames is None else self._bad_frames[0]
        self._bad_frames, self._bad_because = (first, max(time, self._now)), because
        if last_good is not None:
            self._frame = last_good

    def watch_frames(self, watch: bool) -> None:
        """Whether frames matter now; their age counts anew from here."""
        self._frames_watched, self._frames_since, self._bad_frames = watch, None, None

    def on_health(self, health: MotorHealth) -> None:
        """One servo told how it is, at the time of the latest reading or verdict."""
        limits, now = self.limits, self._now
        servo = self._servos.setdefault(health.motor, _Servo(now))
        servo.heard, servo.health = now, health
        if servo.voltage_range is None:
            is_high = health.voltage >= limits.voltage_high[0] - 1
            servo.voltage_range = limits.voltage_high if is_high else limits.voltage_low
        low, high = servo.voltage_range
        complains = "voltage" in health.errors
        servo.bad_voltage.note(complains or not low <= health.voltage <= high, now)
        servo.overloaded.note(not abs(health.load) <= limits.load, now)

    def on_alarms(self, alarms: Mapping[str, tuple[str, ...]]) -> None:
        """Motor -> complaints in its newest answer, at the time of the latest reading."""
        self._alarms = dict(alarms)
        self._low_voltage.note(any("voltage" in names for names in alarms.values()), self._now)

    def on_tick(self, late: float) -> None:
        """A control tick began `late` s after it was due."""
        self._late = late
        self._late_ticks = self._late_ticks + 1 if not late <= self.limits.late else 0

    def on_action(self, action: np.ndarray) -> None:
        """The policy gave `action`, any shape."""
        good = bool(np.isfinite(action).all())
        self._bad_actions = 0 if good else self._bad_actions + 1

    def verdict(self, now: float) -> Verdict:
        """What may be done at `now`; the reasons of the worst kind, in words."""
        if self._stopped is None:
            self._passes(now)
            found = [*self._joints(now), *self._frames(now), *self._health(now)]
            found += [*self._complaining(), *self._loop()]
            verdict = worst(found)
            if verdict.kind != STOP:
                return verdict
            self._stopped = verdict
        return self._stopped

    def _passes(self, time: float) -> None:
        self._now = max(self._now, time)

    def _joints(self, now: float) -> Iterator[Verdict]:
        if self._reading is None:
            yield Verdict(HOLD, "the joints have not been measured yet")
            return
        limits, age = self.limits, now - self._reading
        if self._answered:
            yield from _by_age("joint state", age, limits.reading_hold, limits.reading_stop)
        else:
            kind = HOLD if age <= limits.reading_stop + _ROUNDING else STOP
            yield Verdict(kind, f"the arm does not answer; joint state is {1e3 * age:.0f} ms old")

    def _frames(self, now: float) -> Iterator[Verdict]:
        if not self._frames_watched:
            return
        if self._frames_since is None:
            self._frames_since = now
        taken = self._frames_since if self._frame is None else max(self._frames_since, self._frame)
        hold, stop = self.limits.frame_hold, self.limits.frame_stop
        if self._bad_frames is None:
            yield from _by_age("camera frame", now - taken, hold, stop)
            return
        yield from _by_age(f"{self._bad_because}, the last good one", now - taken, hold, stop)
        lasts = now - self._bad_frames[0]
        if self._bad_lately(now) and lasts > hold + _ROUNDING:  # good ones come in between
            kind = HOLD if lasts <= stop + _ROUNDING else STOP
            yield Verdict(kind, f"{self._bad_because}, some at least, for {1e3 * lasts:.0f} ms")

    def _bad_lately(self, now: float) -> bool:
        return self._bad_frames is not None and now - self._bad_frames[1] <= self.limits.frame_hold

    def _health(self, now: float) -> Iterator[Verdict]:
        for motor in JOINTS:
            self._servos.setdefault(motor, _Servo(now))
        silent = [m for m, s in self._servos.items() if now - s.heard > self.limits.health_hold]
        self._silent.note(bool(silent), now)
        if silent:
            long = self._silent.seconds > self.limits.health_stop - self.limits.health_hold
            yield Verdict(STOP if long else HOLD, f"no word of how {', '.join(silent)} is")
        for motor, servo in self._servos.items():
            if servo.health is not None:
                yield from self._servo(motor, servo, servo.health)

    def _complaining(self) -> Iterator[Verdict]:
        for motor, names in self._alarms.items():
            yield from _complaints(motor, names)
            if "voltage" in names:
                long = self._low_voltage.seconds >= self.limits.voltage_stop
                yield Verdict(STOP if long else HOLD, f"{motor} complains of its voltage")

    def _servo(self, motor: str, servo: _Servo, health: MotorHealth) -> Iterator[Verdict]:
        limits = self.limits
        yield from _complaints(motor, health.errors)
        if not health.temperature <= limits.temperature_hold:
            hot = not health.temperature <= limits.temperature_stop
            yield Verdict(
                STOP if hot else HOLD, f"{motor} is {health.temperature:.0f} degrees warm"
            )
        if servo.bad_voltage:
            long = servo.bad_voltage.seconds >= limits.voltage_stop
            low, high = servo.voltage_range or limits.voltage_low
            yield Verdict(
                STOP if long else HOLD,
                f"{motor} has {health.voltage:.1f} V, right is {low:g} to {high:g} V",
            )
        if servo.overloaded and servo.overloaded.seconds >= limits.load_hold:
            seconds = servo.overloaded.seconds
            yield Verdict(
                STOP if seconds >= limits.load_stop else HOLD,
                f"{motor} has been at {abs(health.load):.0%} of its torque for {seconds:.1f} s",
            )

    def _loop(self) -> Iterator[Verdict]:
        limits = self.limits
        if self._late_ticks >= limits.late_ticks:
            yield Verdict(STOP, f"the loop was late {self._late_ticks} times in succession")
        elif self._late_ticks:
            yield Verdict(HOLD, f"the loop is {1e3 * self._late:.0f} ms late")
        if self._bad_actions >= limits.bad_actions:
            yield Verdict(
                STOP, f"the policy gave nan or inf {self._bad_actions} times in succession"
            )


def _complaints(motor: str, names: Iterable[str]) -> Iterator[Verdict]:
    for complaint in names:
        if complaint != "voltage":
            yield Verdict(STOP, f"{motor} {_STOPPING.get(complaint, f'reports {complaint}')}")


def _by_age(what: str, age: float, hold: float, stop: float) -> Iterator[Verdict]:
    if not age <= hold + _ROUNDING:
        kind = HOLD if age <= stop + _ROUNDING else STOP
        yield Verdict(kind, f"{what} is {1e3 * age:.0f} ms old")
