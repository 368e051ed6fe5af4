"""Watches whether the joints do what they are told, carry what their weight explains, stay high.

What encoder, motor and calibration say alike cannot be seen here: an encoder that shows too much,
by a constant or slowly more, moves as it is told until the arm meets something.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from so101_robobase.arm.clearance import Clearance
from so101_robobase.arm.joints import JOINTS, NUM_JOINTS
from so101_robobase.robot.loop.driver import MotorHealth
from so101_robobase.robot.safety.filter import SafetyLimits
from so101_robobase.robot.safety.monitor import GO, HOLD, STOP, Verdict, worst

Array = NDArray[np.float64]

_GRIPPER = NUM_JOINTS - 1
_SURE = 2  # readings in succession: a single one may be false


@dataclass(frozen=True)
class BodyLimits:
    """When to hold and to stop; rad, s, m. Chosen in devlog 016.

    Attributes:
        late: by which a servo may follow a command. Real ones took 0.06 to 0.09.
        stray_hold, stray_stop: of a joint, away from where it was and from all that it was told
            within `late`. Weight, contact and swinging moved healthy ones by up to 0.12.
        stray_time: of holding for that, after which it is a stop.
        lead: by which a command is ahead of the joint all the time, while it
        unresponsive_speed: is slower than this, rad/s, on average: it does not answer. After
        unresponsive_time: that is a stop; healthy ones pressed on cube and table for 0.8 s. After
        unresponsive_time_high: already, with the whole arm higher above the table than
        high: where nothing can be in its way. The gripper may be kept from closing, by what it
            grasps, never from opening.
        rest_time: without a new command, after which the arm is at rest.
        rest_load: share of the greatest torque that a joint at rest may bear beside twice what its
            weight explains (a real servo is weaker than the model's): otherwise hold, and stop when
            the next word of that servo, 0.6 s later, says the same.
        below: of the lowest point of the arm under the table, by its encoders: stop.
        low, low_time: the same, for so long without rising: stop. `SafetyLimits` allow as much.
    """

    late: float = 0.3
    stray_hold: float = 0.13
    stray_stop: float = 0.2
    stray_time: float = 0.5
    lead: float = 0.08
    unresponsive_speed: float = 0.3
    unresponsive_time: float = 1.2
    unresponsive_time_high: float = 0.4
    high: float = 0.06
    rest_time: float = 1.0
    rest_load: float = 0.4
    below: float = 0.02
    low: float = SafetyLimits().sag - SafetyLimits().floor
    low_time: float = 1.0


class _Tick(NamedTuple):
    """One reading."""

    time: float  # s
    joint_pos: Array  # (6,) rad
    command: Array  # (6,) rad, the last one before it
    height: float  # m, of the arm's lowest point


class BodyWatch:
    """Told by the arm what was measured and commanded; asked once per tick what may be done.

    A stop is for good.

    Args:
        clearance: of the model.
    """

    def __init__(self, clearance: Clearance, limits: BodyLimits | None = None):
        self.limits = limits or BodyLimits()
        self._clearance = clearance
        self.reset()

    def reset(self) -> None:
        """Forget everything: the arm is connected anew."""
        limits = self.limits
        self._kept = max(limits.late, limits.unresponsive_time, limits.low_time, limits.rest_time)
        self._ticks: deque[_Tick] = deque()
        self._explained: Array = np.zeros(NUM_JOINTS)  # where each joint has reason to be
        self._stray: Array = np.zeros(NUM_JOINTS)  # rad, beside that
        self._stray_readings: NDArray[np.int64] = np.zeros(NUM_JOINTS, np.int64)
        self._stray_since: float | None = None
        self._below_readings = 0
        self._loaded: dict[int, tuple[float, int]] = {}  # joint -> share at rest, how often
        self._stopped: Verdict | None = None

    def on_reading(self, time: float, joint_pos: np.ndarray, command: np.ndarray) -> None:
        """The joints were at `joint_pos` (6,) rad at `time`, last told to go to `command`."""
        height = float(self._clearance(joint_pos).clearance)
        if not self._ticks:
            self._explained = joint_pos.copy()
        self._ticks.append(_Tick(time, joint_pos.copy(), command.copy(), height))
        while len(self._ticks) > 2 and self._ticks[1].time <= time - self._kept:
            self._ticks.popleft()
        self._below_readings = self._below_readings + 1 if height < -self.limits.below else 0
        self._look_for_strays(time, joint_pos)

    def on_health(self, joint: int, health: MotorHealth) -> None:
        """Servo `joint` (0 to 5) told how it is."""
        allowed = self._allowed_at_rest(joint)
        if allowed is None or abs(health.load) <= allowed:
            self._loaded.pop(joint, None)
        else:
            self._loaded[joint] = abs(health.load), self._loaded.get(joint, (0.0, 0))[1] + 1

    def verdict(self) -> Verdict:
        """What may be done now; the reasons of the worst kind, in words."""
        if self._stopped is not None:
            return self._stopped
        if not self._ticks:
            return Verdict(GO, "")
        found = [*self._strays(), *self._unresponsive(), *self._loads(), *self._floor()]
        verdict = worst(found)
        if verdict.kind == STOP:
            self._stopped = verdict
        return verdict

    def _last(self, seconds: float) -> list[_Tick] | None:
        """Readings of the last `seconds`, from the one before; None where there are too few."""
        since = self._ticks[-1].time - seconds
        if self._ticks[0].time > since:
            return None
        return [tick for tick in self._ticks if tick.time >= since]

    def _look_for_strays(self, now: float, joint_pos: Array) -> None:
        told = [tick.command for tick in self._ticks if tick.time >= now - self.limits.late]
        low = np.minimum(np.min(told, axis=0), self._explained)
        high = np.maximum(np.max(told, axis=0), self._explained)
        self._explained = np.clip(joint_pos, low, high)
        self._stray = joint_pos - self._explained
        strays = np.abs(self._stray) > self.limits.stray_hold
        self._stray_readings = np.where(strays, self._stray_readings + 1, 0)
        if not (self._stray_readings >= _SURE).any():
            self._stray_since = None
        elif self._stray_since is None:
            self._stray_since = now

    def _strays(self) -> Iterator[Verdict]:
        if self._stray_since is None:
            return
        lasts = self._ticks[-1].time - self._stray_since > self.limits.stray_time
        for joint in np.flatnonzero(self._stray_readings >= _SURE):
            far = abs(self._stray[joint]) > self.limits.stray_stop
            yield Verdict(
                STOP if far or lasts else HOLD,
                f"{JOINTS[joint]} has moved {_degrees(self._stray[joint])} degrees that nobody "
                "told it to move: it is pushed, or its servo or encoder is not as it should be",
            )

    def _unresponsive(self) -> Iterator[Verdict]:
        limits = self.limits
        ticks = self._last(limits.unresponsive_time_high)
        if ticks is None or min(tick.height for tick in ticks) <= limits.high:
            ticks = self._last(limits.unresponsive_time)
        if ticks is None:
            return
        seconds = ticks[-1].time - ticks[0].time
        leads = np.array([tick.command - tick.joint_pos for tick in ticks])
        moved = ticks[-1].joint_pos - ticks[0].joint_pos
        for sign in (1, -1):
            ahead = (sign * leads > limits.lead).all(axis=0)
            ahead &= sign * moved < limits.unresponsive_speed * seconds
            ahead[_GRIPPER] &= sign > 0
            for joint in np.flatnonzero(ahead):
                yield Verdict(
                    STOP,
                    f"{JOINTS[joint]} does not answer: told to move "
                    f"{_degrees(leads[-1, joint])} degrees, it has moved {_degrees(moved[joint])} "
                    f"in {seconds:.1f} s; free it, or see whether its servo works",
                )

    def _allowed_at_rest(self, joint: int) -> float | None:
        """Share of its greatest torque that `joint` may bear; None while the arm is not at rest."""
        ticks = self._last(self.limits.rest_time) if self._ticks else None
        if ticks is None or joint == _GRIPPER:
            return None
        command = ticks[-1].command
        if any((tick.command != command).any() for tick in ticks):
            return None
        weight = self._clearance.weight(ticks[-1].joint_pos)[joint]
        return 2 * abs(float(weight)) + self.limits.rest_load

    def _loads(self) -> Iterator[Verdict]:
        for joint, (share, times) in self._loaded.items():
            yield Verdict(
                HOLD if times == 1 else STOP,
                f"{JOINTS[joint]} bears {share:.0%} of its torque at rest, more than its weight: "
                "it presses against something, or is not where its encoder says",
            )

    def _floor(self) -> Iterator[Verdict]:
        height = self._ticks[-1].height
        ticks = self._last(self.limits.low_time)
        kept_low = ticks is not None and (
            max(tick.height for tick in ticks) < -self.limits.low and height <= ticks[0].height
        )
        if self._below_readings >= _SURE or kept_low:
            yield Verdict(
                STOP,
                f"by its encoders the arm is {-1e3 * height:.0f} mm below the table: "
                "calibrate and align its joints anew",
            )


def _degrees(angle: float) -> str:
    return f"{np.rad2deg(angle):+.0f}"
