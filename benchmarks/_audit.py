"""What reached the servos in a rollout and on what it was based, judged from outside the loop.

A `Witness` between loop and driver writes down what was asked, answered and told, and what was
true at that time; `judge` holds it, and the goals that an emulator saw arrive, against the limits.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np

from so101_robobase.arm.alignment import Units
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.robot.loop.driver import Driver, MotorHealth, Reading
from so101_robobase.robot.safety.filter import SafetyFilter

COUNT = 2 * np.pi / 4096
"""rad, one encoder step."""

OLDEST = 2 * CONTROL_PERIOD
"""s, of the joint state that a command may be based on."""

_NEAR = 2 * COUNT  # rad, between a reading and the truth
_FOUND = 0.05  # rad, between the goals of `connect` and the joints, which sag without torque
_ROUNDING = 1e-6  # rad and m
_CLOCK = 1e-3  # s, between the loop's look at the clock and ours


class Truth(NamedTuple):
    """The truth: joint positions (6,) rad at `time`, s of the monotonic clock."""

    time: float
    joint_pos: np.ndarray


class Read(NamedTuple):
    """One `Driver.read`, and the truth before and after it."""

    before: Truth
    after: Truth
    reading: Reading | None  # None: it failed


class Write(NamedTuple):
    """One `Driver.write`."""

    time: float  # s, when it was called
    position: np.ndarray  # (6,) servo units
    read: int  # index of the latest of `Witness.reads` that succeeded; -1: none has
    failed: bool


class Call(NamedTuple):
    """One `Driver.connect` or `release`, with the truth before and after it."""

    before: Truth
    after: Truth


@dataclass
class Witness:
    """A driver that writes down what happens to `driver`.

    Args:
        look: the truth, now.
        on_connect: called before each `connect`.
    """

    driver: Driver
    look: Callable[[], Truth]
    on_connect: Callable[[], object] = lambda: None
    reads: list[Read] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    connects: list[Call] = field(default_factory=list)  # also those that failed
    releases: list[Call] = field(default_factory=list)
    _latest: int = -1

    def connect(self) -> None:
        self.on_connect()
        before = self.look()
        try:
            self.driver.connect()
        finally:
            self.connects.append(Call(before, self.look()))

    def read(self) -> Reading:
        before, reading = self.look(), None
        try:
            reading = self.driver.read()
            self._latest = len(self.reads)
            return reading
        finally:
            self.reads.append(Read(before, self.look(), reading))

    def write(self, position: np.ndarray) -> None:
        now, failed = time.monotonic(), True
        try:
            self.driver.write(position)
            failed = False
        finally:
            self.writes.append(Write(now, np.array(position), self._latest, failed))

    def health(self, joint: int) -> MotorHealth:
        return self.driver.health(joint)

    @property
    def alarms(self) -> Mapping[str, tuple[str, ...]]:
        return self.driver.alarms

    def retried(self) -> list[str]:
        return self.driver.retried()

    def release(self) -> list[str]:
        before = self.look()
        try:
            return self.driver.release()
        finally:
            self.releases.append(Call(before, self.look()))

    def close(self) -> None:
        self.driver.close()


@dataclass
class Findings:
    """Of one rollout or, added up, of several. Only the first five are violations."""

    stray: int = 0  # goals at servos that were not what the loop sent
    outside: int = 0  # commands with a joint beyond its limit
    fast: int = 0  # with a greater step than allowed
    low: int = 0  # further below the floor or outside the workspace than the command before
    stale: int = 0  # based on joint state older than `OLDEST`
    misread: int = 0  # based on positions that the joints never had: spoilt, but with the right sum
    goals: int = 0  # that reached a servo
    commands: int = 0
    oldest: float = 0.0  # s, joint state that a command was based on

    @property
    def violations(self) -> int:
        return self.stray + self.outside + self.fast + self.low + self.stale

    def __add__(self, other: "Findings") -> "Findings":
        total = {
            one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)
        }
        return Findings(**{**total, "oldest": max(self.oldest, other.oldest)})


def judge(witness: Witness, goals: np.ndarray, safety: SafetyFilter, units: Units) -> Findings:
    """Findings of what `witness` saw since one `connect` (all of it).

    Args:
        goals: of the same time, as `EmulatedBus.commands` gives them.
        safety: its limits count, its state does not.
    """
    found = Findings(goals=len(goals), commands=len(witness.writes))
    sent = [units.to_model(write.position) for write in witness.writes]
    found.stray = _stray(witness, goals, sent)
    before = None
    for write, command in zip(witness.writes, sent, strict=True):
        if write.read < 0:  # nothing was known of the arm
            found.stale += 1
            continue
        reading = witness.reads[write.read].reading
        assert reading is not None
        measured = units.to_model(reading.position)
        if before is None:
            before = units.to_model(_first(witness).position)
        found.outside += _is_outside(command, before, safety)
        found.fast += _is_fast(command, before, measured, safety)
        found.low += safety.violation(command) > safety.violation(before) + _ROUNDING
        age = _age(witness, write, measured)
        if age is None:
            found.misread += 1
            age = write.time - reading.time
        found.stale += age > OLDEST + _CLOCK
        found.oldest = max(found.oldest, age)
        if not write.failed:
            before = command
    return found


def judge_goals(goals: np.ndarray, safety: SafetyFilter, free: float = np.inf) -> Findings:
    """`judge` where there was no witness: what can be told from the `goals` of one rollout alone.

    The first whole set says where the arm was found. `free`: since when, s, it may have been pushed
    or have fallen, so that steps say nothing.
    """
    found = Findings(goals=len(goals))
    poses = _poses(goals)
    for index, (when, command) in enumerate(poses[1:]):
        before = poses[index][1]
        found.commands += 1
        found.outside += _is_outside(command, before, safety, COUNT)
        # Without torque, before the first command, the arm sags.
        allowed = np.array(safety.limits.max_step) + (COUNT if index else _FOUND)
        found.fast += bool(when < free and (np.abs(command - before) > allowed).any())
    return found


def _poses(goals: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """When (s) and what (6,) rad, of goals that reached all six servos one after the other."""
    joints, whole = goals["joint"], np.arange(NUM_JOINTS)
    starts = [k for k in np.flatnonzero(joints == 0) if np.array_equal(joints[k : k + 6], whole)]
    return [(float(goals["time"][k]), goals["angle"][k : k + 6]) for k in starts]


def _first(witness: Witness) -> Reading:
    return next(read.reading for read in witness.reads if read.reading is not None)


def _stray(witness: Witness, goals: np.ndarray, sent: list[np.ndarray]) -> int:
    """Goals that are neither the latest command nor, while connecting, where the joint is."""
    times = [write.time for write in witness.writes]
    stray = 0
    for goal in goals:
        joint, angle = int(goal["joint"]), float(goal["angle"])
        latest = bisect_right(times, float(goal["time"])) - 1
        as_sent = latest >= 0 and abs(angle - sent[latest][joint]) <= COUNT
        stray += not (as_sent or _holds(witness, float(goal["time"]), joint, angle))
    return stray


def _holds(witness: Witness, when: float, joint: int, angle: float) -> bool:
    """Whether a `connect` was under way and `angle` is where `joint` was in it."""
    for before, after in witness.connects:
        if before.time <= when <= after.time:
            low, high = sorted((before.joint_pos[joint], after.joint_pos[joint]))
            return low - _FOUND <= angle <= high + _FOUND
    return False


def _is_outside(
    command: np.ndarray, before: np.ndarray, safety: SafetyFilter, slack: float = _ROUNDING
) -> bool:
    """A joint that was found, and so held, beyond its limit may stay there."""
    lower, upper = np.minimum(safety.lower, before), np.maximum(safety.upper, before)
    return bool(((command < lower - slack) | (command > upper + slack)).any())


def _is_fast(
    command: np.ndarray, before: np.ndarray, measured: np.ndarray, safety: SafetyFilter
) -> bool:
    """Steps count from the last command or, where the arm was pushed, from its lead over that."""
    lead, step = np.array(safety.limits.max_lead), np.array(safety.limits.max_step)
    given_way = np.clip(before, measured - lead, measured + lead)
    least, most = np.minimum(before, given_way) - step, np.maximum(before, given_way) + step
    return bool(((command < least - _ROUNDING) | (command > most + _ROUNDING)).any())


def _age(witness: Witness, write: Write, measured: np.ndarray) -> float | None:
    """s, by which the state that `write` was based on is old at least; None: it never was."""
    looks = [look for read in witness.reads[: write.read + 1] for look in (read.before, read.after)]
    for earlier, later in zip(looks[-2::-1], looks[:0:-1], strict=True):
        low = np.minimum(earlier.joint_pos, later.joint_pos) - _NEAR
        high = np.maximum(earlier.joint_pos, later.joint_pos) + _NEAR
        if ((low <= measured) & (measured <= high)).all():
            claimed = witness.reads[write.read].reading
            assert claimed is not None
            is_newest = later is looks[-1]
            return write.time - (claimed.time if is_newest else later.time)
    return None
