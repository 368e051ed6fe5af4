"""Work with an arm that has torque: ticks at a fixed rate under watch, slow moves, a safe end."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from robobase import signals
from robobase.errors import UserError
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.robot.loop.arm import Arm
from so101_robobase.robot.loop.driver import DriverError
from so101_robobase.robot.loop.ticker import Ticker, Timing
from so101_robobase.robot.person.hints import REAL_ARM, OperatorHints
from so101_robobase.robot.person.keys import ESCAPE, Keys, no_keys
from so101_robobase.robot.safety.joint_path import joint_path
from so101_robobase.robot.safety.monitor import GO, STOP

RELEASE, HOLD = "release", "hold"
_HEALTH_EVERY = 5  # control ticks between two questions to one servo: all six in 0.6 s
_SETTLED = 0.05  # rad, from the goal, at the end of a slow move
_SETTLE_TICKS = 50


class Stop(Exception):
    """The work is over; the arm must be left as configured."""


_REASONS = (Stop, DriverError, UserError, KeyboardInterrupt)  # to stop; anything else is a bug


@dataclass
class Ending:
    """How work with an arm ended."""

    stopped: str | None = None  # why it was cut short
    left: str = RELEASE  # how the arm was left: released or held
    unconfirmed: list[str] = field(default_factory=list)  # motors whose torque may still be on
    timing: Timing | None = None


class Watchdog(Protocol):
    """Turns torque off when it is not told for a while that the loop lives."""

    @property
    def fired(self) -> bool:
        """Whether it has done so."""

    def beat(self) -> None:
        """The loop lives; never raises, never waits."""

    def abandon(self) -> None:
        """Servos could not be told to turn torque off: go on telling them."""

    def dismiss(self) -> None:
        """The arm has been left as it should be."""


class NoWatchdog:
    """For arms that nobody can be hurt by."""

    fired = False

    def beat(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def dismiss(self) -> None:
        pass


class ArmLoop:
    """Control ticks of `arm`, from its connection until it has been let go.

    Args:
        on_stop: `RELEASE` or `HOLD`, what to do with the arm when work is cut short.
        start_watchdog: called before the arm is connected.
        hints: what a person is told to do with this arm.

    Attributes:
        key: pressed before the newest tick; None where there was none.
        ticker: keeps the rate.
    """

    def __init__(
        self,
        arm: Arm,
        on_stop: str = RELEASE,
        start_watchdog: Callable[[], Watchdog] | None = None,
        keys: Keys = no_keys,
        hints: OperatorHints = REAL_ARM,
    ):
        self.arm = arm
        self._hints = hints
        self.key: str | None = None
        self.ticker = Ticker(arm.clock, CONTROL_PERIOD)
        self._on_stop = on_stop
        self._start_watchdog = start_watchdog or NoWatchdog
        self._watchdog: Watchdog = NoWatchdog()
        self._keys = keys
        self._ticks = 0
        self._interrupted: str | None = None
        self._leaving = False
        self._held = False

    def run(self, work: Callable[[], None], ending: Ending) -> None:
        """Connect, do `work`, go slowly back to where the arm was found, turn torque off.

        However it ends, the arm is released or held, and `ending` and the log say which.

        Args:
            work: calls `tick`, `move_to` and `arm.send`.
            ending: is filled in.

        Raises:
            UserError: the arm could not be connected; nothing has moved, and torque is off, but
                where the error says otherwise.
        """
        with self._signals():
            try:
                self._connect_and(work, ending)
            finally:
                self.arm.driver.close()
                if ending.unconfirmed:
                    self._watchdog.abandon()
                    self.arm.events.add("watchdog_goes_on", motors=ending.unconfirmed)
                else:
                    self._watchdog.dismiss()
                ending.timing = self.ticker.timing()

    def _connect_and(self, work: Callable[[], None], ending: Ending) -> None:
        self._watchdog = self._start_watchdog()  # before there is torque
        try:
            self.arm.connect()
        except UserError as error:
            # The driver has put everything back, but for servos that did not answer any more.
            ending.unconfirmed = self.arm.driver.release()
            if ending.unconfirmed:
                motors = ", ".join(ending.unconfirmed)
                raise UserError(
                    f"{error}; torque may still be on in {motors}: {self._hints.cut_power}"
                ) from error
            raise
        except BaseException as error:
            if not self.arm.connected:
                self._on_stop = RELEASE  # there is nothing to hold: the driver has begun to let go
            self._leave(ending, error)
            return
        self._watchdog.beat()  # from here on it is quick to notice that the loop stands still
        try:
            home = self.arm.command
            self.arm.events.add("connected", joint_pos=_degrees(home))
            self.ticker.restart()
            work()
            self.move_to(home)
        except BaseException as error:
            self._leave(ending, error)
        else:
            self._leave(ending)

    def tick(self) -> bool:
        """One control tick up to the command: wait, look at everything; may the arm be moved?

        Raises Stop.
        """
        late = self.ticker.wait()
        self._watchdog.beat()
        if self._watchdog.fired:
            raise Stop("the loop stood still, and the watchdog turned torque off")
        self.key = self._keys()
        if self.key == ESCAPE:
            raise Stop("Esc pressed")
        if self._interrupted:
            raise Stop(self._interrupted)
        monitor = self.arm.monitor
        monitor.on_tick(late)
        self.arm.read()
        self._ticks += 1
        if self._ticks % _HEALTH_EVERY == 0:
            self.arm.ask_health()
        verdict = self.arm.verdict()
        if verdict.kind == STOP:
            raise Stop(verdict.reason)
        held = verdict.kind != GO
        if held != self._held:
            self.arm.events.add("hold" if held else "go", reason=verdict.reason)
        self._held = held
        return not held

    def move_to(self, goal: np.ndarray) -> None:
        """Go slowly to `goal` (6,) rad; camera frames do not matter meanwhile. Raises Stop.

        An arm that does not obey stays where it is held.
        """
        self.arm.monitor.watch_frames(False)
        if not self.arm.accepts_commands:
            self.tick()
            self.arm.follow()
            return
        for command in joint_path(self.arm.command, goal, self.arm.safety):
            while not self.tick():
                pass
            self.arm.send(command)
        for _ in range(_SETTLE_TICKS):
            self.tick()
            if np.abs(self.arm.joint_pos - goal).max() < _SETTLED:
                return
        self.arm.events.add("not_settled", goal=_degrees(goal), at=_degrees(self.arm.joint_pos))

    def _leave(self, ending: Ending, error: BaseException | None = None) -> None:
        """Let the arm go, or, where `error` cut the work short, do as configured.

        Raises `error` if it is a fault of this program.
        """
        self._leaving = True
        if error is not None:
            ending.stopped = str(error) or type(error).__name__
            self.arm.events.add("stop", reason=ending.stopped)
        if error is None or self._on_stop == RELEASE:
            ending.left = RELEASE
            ending.unconfirmed = self.arm.release()
        else:
            ending.left = HOLD
            self.arm.events.add("held", joint_pos=_degrees(self.arm.joint_pos))
        if error is not None and not isinstance(error, _REASONS):
            raise error

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """A signal ends the loop at its next tick, a second one at once.

        While the arm is let go, which is quick, they are not heeded; nor is the echo of a closed
        terminal, of which kernel and shell both tell.
        """

        def interrupt(number: int) -> None:
            name = signal.Signals(number).name
            if self._interrupted and not self._leaving and name != "SIGHUP":
                raise KeyboardInterrupt
            self._interrupted = name

        with signals.heard_by(interrupt):
            yield


def _degrees(angles: np.ndarray) -> list[float]:
    return [round(float(angle), 2) for angle in np.rad2deg(angles)]
