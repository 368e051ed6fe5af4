"""The arm as the loop sees it: radians in, radians out, safety on the only way to the servos."""

import mujoco
import numpy as np

from so101_robobase.arm.alignment import Alignment, Units
from so101_robobase.arm.clearance import Clearance
from so101_robobase.arm.joints import JOINTS, NUM_JOINTS
from so101_robobase.robot.loop.clock import Clock
from so101_robobase.robot.loop.driver import Driver, DriverError
from so101_robobase.robot.loop.dry_run import DryRun
from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.safety.body_watch import BodyWatch
from so101_robobase.robot.safety.filter import SafetyFilter
from so101_robobase.robot.safety.limits import Limits
from so101_robobase.robot.safety.monitor import GO, Monitor, Verdict, worst

_ROUNDING = 1e-6  # s: exactly two ticks are not too long


class Arm:
    """Reads joints, sends what the safety filter lets through, asks one servo a time how it is.

    Attributes:
        joint_pos, joint_vel: (6,) rad and rad/s of the newest reading; velocities are differences
            of positions over the time between two readings.
        command: (6,) rad, what the servos were last told.
        body: watches whether the joints do what they are told.
        time: s of the loop's clock, of the newest reading.
        servo_pos, servo_command: both in servo units.
        wanted: (6,) rad, what `send` was asked for last; `limited`: names of the limits that made
            something else of it.
    """

    def __init__(
        self,
        driver: Driver,
        units: Units,
        safety: SafetyFilter,
        monitor: Monitor,
        clock: Clock,
        events: EventLog,
    ):
        self.driver, self.units, self.safety = driver, units, safety
        self.monitor, self.clock, self.events = monitor, clock, events
        self.body = BodyWatch(safety.clearance)
        self._told = ""  # by `body`, last
        self.joint_pos: np.ndarray = np.zeros(NUM_JOINTS)
        self.joint_vel: np.ndarray = np.zeros(NUM_JOINTS)
        self.time: float = -np.inf
        self.wanted: np.ndarray = np.zeros(NUM_JOINTS)
        self.limited: tuple[str, ...] = ()
        self.connected = False  # the driver holds the arm
        self._asked = 0

    @property
    def accepts_commands(self) -> bool:
        """Whether commands move it; in a dry run only a person does."""
        return not isinstance(self.driver, DryRun)

    @property
    def command(self) -> np.ndarray:
        return self.safety.command.copy()

    @property
    def servo_pos(self) -> np.ndarray:
        return self.units.to_servo(self.joint_pos)

    @property
    def servo_command(self) -> np.ndarray:
        return self.units.to_servo(self.safety.command)

    def connect(self) -> None:
        """Connect, read, and take the pose in which the arm was found as its first command.

        Raises UserError for what a person can mend, DriverError where the arm does not answer.
        """
        self.connected = False
        try:
            self.driver.connect()
        finally:
            self._log_retried()
        self.connected = True
        reading = self.driver.read()
        self._note(reading.time, reading.position)
        self.monitor.on_reading(True, reading.time)  # from now on it must not fall silent
        self.joint_vel[:] = 0
        self.safety.reset(self.joint_pos)
        self.body.reset()

    def read(self) -> bool:
        """Measure the joints; False where the arm did not answer, which is logged."""
        try:
            reading = self.driver.read()
        except DriverError as error:
            self._look_after()
            self.monitor.on_reading(False, self.clock.now())
            self.events.add("read_failed", error=str(error))
            return False
        self._look_after()
        self._note(reading.time, reading.position)
        self.monitor.on_reading(True, reading.time)
        if self.accepts_commands:
            self.body.on_reading(self.time, self.joint_pos, self.safety.command)
        return True

    def verdict(self) -> Verdict:
        """What may be done now; what `body` finds goes to the log."""
        found = self.body.verdict()
        if found.kind != GO and found.reason != self._told:
            self.events.add("body", verdict=found.kind, reason=found.reason)
        self._told = found.reason
        return worst([self.monitor.verdict(self.clock.now()), found])

    def send(self, target: np.ndarray) -> None:
        """Tell the servos `target` (6,) rad, or what safety makes of it.

        Where they cannot be told, or the joints were measured too long ago, both of which is
        logged, `command` stays what it was.
        """
        self.wanted, self.limited = np.array(target, np.float64), ()
        age = self.clock.now() - self.time
        if age > self.monitor.limits.reading_stop + _ROUNDING:
            self.events.add("stale", age=round(age, 4))  # reading, seeing or thinking took long
            self.limited = ("age of the joint state",)
            return
        before = self.command
        decision = self.safety.filter(target, self.joint_pos)
        self.limited = tuple(str(reason) for reason in decision.interventions)
        if decision.interventions:
            self.events.add("limited", reasons=decision.interventions)
        try:
            self.driver.write(self.units.to_servo(decision.command))
        except DriverError as error:
            self.safety.command = before  # or failures in a row would add up to one big step
            self.events.add("write_failed", error=str(error))

    def follow(self) -> None:
        """Take the measured pose for the command: somebody has moved an arm without torque."""
        self.safety.reset(self.joint_pos)

    def ask_health(self) -> None:
        """Ask the next servo how it is."""
        joint, self._asked = self._asked, (self._asked + 1) % NUM_JOINTS
        try:
            health = self.driver.health(joint)
        except DriverError as error:
            self.events.add("health_failed", motor=JOINTS[joint], error=str(error))
            return
        self.monitor.on_health(health)
        if self.accepts_commands:
            self.body.on_health(joint, health)

    def release(self) -> list[str]:
        """Torque off; names of the motors that did not confirm it."""
        unconfirmed = self.driver.release()
        self.events.add("released", unconfirmed=unconfirmed)
        return unconfirmed

    def _look_after(self) -> None:
        """What the servos complain of, and what did not work at once."""
        self.monitor.on_alarms(self.driver.alarms)
        self._log_retried()

    def _log_retried(self) -> None:
        for error in self.driver.retried():
            self.events.add("retried", error=error)

    def _note(self, time: float, position: np.ndarray) -> None:
        joint_pos = self.units.to_model(position)
        if np.isfinite(self.time) and time > self.time:
            self.joint_vel = (joint_pos - self.joint_pos) / (time - self.time)
        self.joint_pos, self.time = joint_pos, time


def assemble_arm(
    driver: Driver,
    physics: mujoco.MjModel,
    clock: Clock,
    events: EventLog | None = None,
    alignment: Alignment | None = None,
    limits: Limits | None = None,
) -> Arm:
    """The arm of `driver` behind a safety filter and a monitor of its own.

    Args:
        physics: the model whose joint ranges and shape the limits go by.
        clock: the loop's.
        events: the log; None: in memory.
        alignment: of the driver's units with the model; None: they agree.
        limits: None: as they come.
    """
    joint_range = physics.actuator_ctrlrange.copy()  # (6, 2)
    limits = limits or Limits()
    return Arm(
        driver,
        Units(alignment or Alignment(), joint_range),
        SafetyFilter(limits.safety, joint_range, Clearance(physics)),
        Monitor(limits.monitor),
        clock,
        events or EventLog(),
    )
