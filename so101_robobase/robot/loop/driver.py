"""What a rollout needs of an arm, real or simulated, in the units of LeRobot's driver.

Servo units, in `JOINTS` order: degrees from the middle of the calibrated range for the five arm
joints, 0 (closed) to 100 (open) for the gripper. `alignment` alone converts to the model's radians.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


class DriverError(Exception):
    """The arm did not answer, or not as it should. The next call may succeed.

    Where it is raised by `Driver.read`, no position was obtained; by `write`, servos may or may not
    have received theirs.
    """


class Reading(NamedTuple):
    """Where the joints were."""

    time: float  # s, of the loop's clock, when the question was sent
    position: np.ndarray  # (6,) servo units


@dataclass(frozen=True)
class MotorHealth:
    """How one servo is."""

    motor: str
    temperature: float  # degrees Celsius
    voltage: float  # V
    load: float  # share of the greatest torque, signed, -1 to 1
    errors: tuple[str, ...] = ()  # what the servo itself complains of: "overload", "voltage", ...


class Driver(Protocol):
    """One arm. `connect` first; `release` and `close` are safe at any time and may be repeated.

    No method blocks longer than about 0.1 s, but for `connect`.
    """

    def connect(self) -> None:
        """Open, check and configure; then torque on, holding the pose in which the arm was found.

        Raises UserError with what to do for everything that a person can mend.
        """

    def read(self) -> Reading:
        """Present positions, never older than the call. Raises DriverError."""

    def write(self, position: np.ndarray) -> None:
        """Goal positions (6,) in servo units. Raises DriverError, ValueError for nan or inf."""

    def health(self, joint: int) -> MotorHealth:
        """How servo `joint` (0 to 5) is. Raises DriverError."""

    @property
    def alarms(self) -> Mapping[str, tuple[str, ...]]:
        """Motor -> what it complains of in its newest answer; only motors that do."""

    def retried(self) -> list[str]:
        """What went wrong since the last call and was put right by asking again; for the log."""

    def release(self) -> list[str]:
        """Torque off, motor by motor, whatever happens; names of those not confirmed to be off.

        On a closed port: of those that were not when it was closed.
        """

    def close(self) -> None:
        """Free the port; torque stays as it is."""
