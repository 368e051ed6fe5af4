"""A driver that listens but never moves the arm."""

from collections.abc import Mapping

import numpy as np

from so101_robobase.robot.loop.driver import Driver, DriverError, MotorHealth, Reading


class DryRun:
    """`driver` with torque off throughout: its arm can be moved by hand while the policy looks."""

    def __init__(self, driver: Driver):
        self._driver = driver

    def connect(self) -> None:
        """Torque is on for a moment, as everything is checked that a rollout needs."""
        self._driver.connect()
        if holding := self._driver.release():
            raise DriverError(f"torque may still be on in {', '.join(holding)}")

    def read(self) -> Reading:
        return self._driver.read()

    def write(self, position: np.ndarray) -> None:
        """Nothing is sent."""

    def health(self, joint: int) -> MotorHealth:
        return self._driver.health(joint)

    @property
    def alarms(self) -> Mapping[str, tuple[str, ...]]:
        return self._driver.alarms

    def retried(self) -> list[str]:
        return self._driver.retried()

    def release(self) -> list[str]:
        return self._driver.release()

    def close(self) -> None:
        self._driver.close()
