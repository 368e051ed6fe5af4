"""A driver that listens but never moves the arm."""

import numpy as np

from so101_robobase.robot.driver import Driver, MotorHealth, Reading


class DryRun:
    """`driver` with torque off throughout: its arm can be moved by hand while the policy looks."""

    def __init__(self, driver: Driver):
        self._driver = driver

    def connect(self) -> None:
        self._driver.connect()
        self._driver.release()

    def read(self) -> Reading:
        return self._driver.read()

    def write(self, position: np.ndarray) -> None:
        """Nothing is sent."""

    def health(self, joint: int) -> MotorHealth:
        return self._driver.health(joint)

    def release(self) -> list[str]:
        return self._driver.release()

    def close(self) -> None:
        self._driver.close()
