"""A `Driver` on LeRobot's own `SO101Follower`, which is used as it is.

LeRobot's class sets up the servos and its motors bus sends goals; what it does not do is done here:
the port belongs to one process, answers are known to be new, torque comes on with the goal at the
present position, and torque goes off motor by motor whatever the servos complain of. Cameras are
none of its business: a dead one would keep it from letting go.
"""

import time
from pathlib import Path

import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.joints import JOINTS, NUM_JOINTS
from so101_robobase.base.extras import require_robot
from so101_robobase.robot.loop.driver import DriverError, MotorHealth, Reading
from so101_robobase.robot.person.hints import hints_for
from so101_robobase.robot.real import ports
from so101_robobase.robot.real.lerobot_bus import LeRobotBus
from so101_robobase.robot.real.lerobot_calibration import Calibration, default_folder, kept_by
from so101_robobase.robot.real.ports import IDS
from so101_robobase.robot.real.servo_registers import (
    GOAL_POSITION,
    PRESENT_POSITION,
    TORQUE_ENABLE,
    ServoSettings,
    alarm_names,
    parse_position,
)
from so101_robobase.robot.real.servo_setup import REPAIR, bad_settings, check_set_up

NO_TORQUE = "torque off"
"""Among a motor's errors: it should hold, but has lost its torque, as after a loss of power."""

RELEASE_TIME = 0.12
"""s after which `release` asks no further servo; all have been told by then."""

_ATTEMPTS = 3  # at the first goal
_SET_UPS = 2  # each miss takes LeRobot 50 ms, with torque on in some servos and not in others
_BURST = 10  # times 0.3 ms: torque off on a line that loses most of what is sent
_OFF = b"\0"
_POSITION_LENGTH = 2
_TORQUE_AND_GOAL_LENGTH = 4
_TORQUE_TO_POSITION_LENGTH = PRESENT_POSITION - TORQUE_ENABLE + _POSITION_LENGTH


class LeRobotDriver:
    """The arm on a serial port. Needs the extra `robot`.

    Args:
        port: such as /dev/ttyACM0.
        calibration: LeRobot's file of this arm, or
        id: LeRobot's id of the arm, whose file is in `calibration_dir` (default: LeRobot's own).

    Raises UserError: the calibration is missing or not an SO-101's, LeRobot is not installed.

    Attributes:
        robot: LeRobot's.
        bus: its motors bus, with checked answers.
        calibration: the file.
        alarms: motor -> what it complains of in its newest answer; empty where there are none.
    """

    def __init__(
        self,
        port: str,
        calibration: Path | None = None,
        *,
        id: str | None = None,
        calibration_dir: Path | None = None,
    ):
        if (calibration is None) == (id is None):
            raise UserError("give either the calibration file of the arm or its LeRobot id")
        if calibration is None:
            calibration = (calibration_dir or default_folder()) / f"{id}.json"
        calibration = calibration.absolute()
        self.calibration = Calibration(calibration)
        self.port = port
        require_robot("scservo_sdk")
        lerobot = require_robot("lerobot.robots.so_follower")
        self.robot = lerobot.SO101Follower(
            lerobot.SO101FollowerConfig(
                port=port, id=calibration.stem, calibration_dir=calibration.parent, use_degrees=True
            )
        )
        self.bus = LeRobotBus(self.robot.bus)
        self._torque = False  # whether we have given the servos torque, or begun to
        self._unconfirmed: list[str] = []  # motors that may have kept it since the last release
        self._limp: list[str] = []  # motors that had none in the newest answer
        self._goal: list[int] | None = None  # counts, what was sent last

    @property
    def alarms(self) -> dict[str, tuple[str, ...]]:
        named = {ports.name(id_): alarm_names(bits) for id_, bits in self.bus.alarm_bits.items()}
        alarms = {motor: names for motor, names in named.items() if names}
        for motor in self._limp:
            alarms[motor] = (*alarms.get(motor, ()), NO_TORQUE)
        return alarms

    def connect(self) -> None:
        """See `Driver`. If it fails, the port is free, and torque as it was or off.

        Where it could not be turned off, `release` names the motors.

        Raises:
            UserError: the port, a servo or the calibration is not as it should be; nothing moved.
            DriverError: the servos stopped answering.
        """
        if self._torque:  # held since the last time
            self._unconfirmed = list(JOINTS)
        self._torque, self._limp = False, []
        try:
            self.bus.open()
            before = self.check_servos()
            counts = self.positions()
            named = dict(zip(JOINTS, counts.tolist(), strict=True))
            if (problem := self.calibration.out_of_range(named)) is not None:
                raise UserError(problem)
            self._torque = True
            self._hold(np.clip(counts, self.calibration.lower, self.calibration.upper))
            check_set_up(self.bus, before)
            self._goal = None  # a servo that takes torque may set a goal of its own
        except BaseException:
            if self._torque:
                self.release()
            self.close()
            raise

    def check_servos(self) -> dict[str, ServoSettings]:
        """Whether the servos on the open port are this arm's, and well; what they keep.

        Raises UserError, for registers that keep what they must not too.
        """
        settings = {id_: self.bus.settings(id_) for id_ in IDS}
        ports.check_servos(
            self.port, {id_: found.model if found else None for id_, found in settings.items()}
        )
        known = {ports.name(id_): found for id_, found in settings.items() if found}
        firmware = {found.firmware for found in known.values()}
        if len(firmware) > 1:
            listed = ", ".join(f"{motor} {found.firmware}" for motor, found in known.items())
            raise UserError(
                f"the servos have different firmware, which LeRobot does not allow: {listed}; "
                "update them with Feetech's software"
            )
        if (problem := self.calibration.difference(kept_by(known))) is not None:
            raise UserError(problem)
        if (problem := bad_settings(known)) is not None:
            raise UserError(f"{problem}; write what is allowed: {REPAIR.format(port=self.port)}")
        for motor, names in self.alarms.items():
            raise UserError(
                f"{motor} complains of {' and '.join(names)}: {hints_for(self.port).restart}"
            )
        return known

    def positions(self) -> np.ndarray:
        """Present positions (6,) in counts. Raises DriverError."""
        _, answers = self.bus.read_all(IDS, PRESENT_POSITION, _POSITION_LENGTH)
        return np.array([parse_position(answer) for answer in answers])

    def read(self) -> Reading:
        sent, answers = self.bus.read_all(IDS, TORQUE_ENABLE, _TORQUE_TO_POSITION_LENGTH)
        counts = np.array([parse_position(a[PRESENT_POSITION - TORQUE_ENABLE :]) for a in answers])
        self._limp = [
            motor for motor, a in zip(JOINTS, answers, strict=True) if self._torque and a[0] != 1
        ]
        self._compare_goals([parse_position(a[GOAL_POSITION - TORQUE_ENABLE :]) for a in answers])
        return Reading(sent, self.calibration.to_servo(counts))

    def write(self, position: np.ndarray) -> None:
        """Goal positions (6,) in servo units, sent as the nearest within the calibrated range.

        Raises:
            ValueError: not six finite numbers.
            DriverError: not sent, or the arm has been released.
        """
        position = np.asarray(position, np.float64)
        if position.shape != (NUM_JOINTS,) or not np.isfinite(position).all():
            raise ValueError(f"goal positions must be six finite numbers, not {position}")
        if not self._torque:
            raise DriverError("the arm has no torque; connect first")
        self._send_goal(self.calibration.to_counts(position))

    def health(self, joint: int) -> MotorHealth:
        id_ = IDS[joint]
        state = self.bus.state(id_)
        errors = set(state.alarms) | set(alarm_names(self.bus.alarm_bits[id_]))
        if self._torque and not state.torque:
            errors.add(NO_TORQUE)
        return MotorHealth(
            JOINTS[joint], state.temperature, state.voltage, state.load, tuple(sorted(errors))
        )

    def retried(self) -> list[str]:
        retried, self.bus.retried = self.bus.retried, []
        return retried

    def release(self) -> list[str]:
        """See `Driver`. Takes 10 ms; up to 0.2 s where servos do not answer."""
        if not self.bus.is_open:
            return list(JOINTS) if self._torque else list(self._unconfirmed)
        self._torque, self._unconfirmed = False, list(JOINTS)
        interrupt: KeyboardInterrupt | None = None
        pending = dict(zip(JOINTS, IDS, strict=True))
        ends = time.monotonic() + RELEASE_TIME
        while pending:
            try:
                self._release_round(pending, ends)
            except KeyboardInterrupt as error:  # not before every motor has been told
                interrupt = error
            if time.monotonic() > ends:
                break
        self._unconfirmed = list(pending)
        if interrupt is not None:
            raise interrupt
        return list(pending)

    def close(self) -> None:
        self.bus.close()

    def _release_round(self, pending: dict[str, int], ends: float) -> None:
        """Tell all motors, then see of each, until `ends`, whether it has obeyed.

        Those that have leave `pending`.
        """
        times = 1
        for motor, id_ in list(pending.items()):
            if time.monotonic() > ends:
                return
            try:
                # Before each question again, for it costs next to nothing and may get lost.
                for _ in range(times):
                    self.bus.sync_write("Torque_Enable", dict.fromkeys(pending, 0))
                if self._torque_is_on(id_):
                    self.bus.write(id_, TORQUE_ENABLE, _OFF)
                else:
                    del pending[motor]
            except DriverError:
                times = _BURST

    def _torque_is_on(self, id_: int) -> bool:
        return self.bus.read(id_, TORQUE_ENABLE, _TORQUE_AND_GOAL_LENGTH, attempts=1)[0] != 0

    def _send_goal(self, counts: np.ndarray) -> None:
        goals = counts.tolist()
        self.bus.sync_write("Goal_Position", dict(zip(JOINTS, goals, strict=True)))
        self._goal = goals

    def _compare_goals(self, goals: list[int]) -> None:
        """A sync write has no answer: see by the servos' goals whether the last one arrived."""
        if self._goal is not None and self._torque:
            missed = [JOINTS[i] for i, goal in enumerate(goals) if goal != self._goal[i]]
            if missed:
                self.bus.retried.append(f"{', '.join(missed)} did not get the last goal")
            self._goal = None  # told once

    def _hold(self, counts: np.ndarray) -> None:
        """ServoSettings of LeRobot, then torque, with the goal at `counts` (6,) before that."""
        self._confirm_goal(counts)
        missed = 0
        for attempt in range(_SET_UPS):
            try:
                with self.bus.overhearing() as failures:
                    self.robot.configure()  # torque off and on again, whatever the goal is
                break
            except (OSError, RuntimeError) as error:
                if (interrupt := _interrupt_behind(error)) is not None:
                    raise interrupt from None
                missed += len(failures)
                if attempt == _SET_UPS - 1 or missed > 1:
                    raise UserError(
                        f"the servos could not be set up ({' '.join(str(error).split())}); "
                        f"{hints_for(self.port).restart}, and try again"
                    ) from error
                self.bus.settle()
        off = [JOINTS[i] for i, answer in enumerate(self._torque_and_goal()) if answer[0] != 1]
        if off:
            raise UserError(
                f"{', '.join(off)} did not take torque; {hints_for(self.port).restart}, and try "
                "again"
            )

    def _confirm_goal(self, counts: np.ndarray) -> None:
        for _ in range(_ATTEMPTS):
            self._send_goal(counts)
            goals = [
                parse_position(a[GOAL_POSITION - TORQUE_ENABLE :]) for a in self._torque_and_goal()
            ]
            if goals == counts.tolist():
                return
            self.bus.retried.append(f"goals {counts.tolist()} arrived as {goals}")
        raise DriverError(f"servos did not take their goal: {counts.tolist()} became {goals}")

    def _torque_and_goal(self) -> list[bytes]:
        return self.bus.read_all(IDS, TORQUE_ENABLE, _TORQUE_AND_GOAL_LENGTH)[1]


def _interrupt_behind(error: BaseException) -> BaseException | None:
    """The Ctrl-C that `error` hides: giving torque back fails where a call was interrupted."""
    behind: BaseException | None = error
    while behind is not None and isinstance(behind, Exception):
        behind = behind.__context__
    return behind
