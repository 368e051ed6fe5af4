"""A person's hand on an emulated arm: it moves and holds joints whose servos have no torque."""

from collections.abc import Mapping

import numpy as np

from so101_robobase.arm.joints import JOINTS, NUM_JOINTS


class Hand:
    """Where the joints are led; angles in rad, `JOINTS` order, times in s of one clock.

    Attributes:
        holds: (6,) bool: joints that it has taken hold of.
    """

    def __init__(self) -> None:
        self.holds = np.zeros(NUM_JOINTS, bool)
        self._from: np.ndarray = np.zeros(NUM_JOINTS)
        self._to: np.ndarray = np.zeros(NUM_JOINTS)
        self._began, self._seconds = 0.0, 1.0

    def guide(
        self,
        goals: Mapping[int, float],
        seconds: float,
        now: float,
        present: np.ndarray,
        limp: np.ndarray,
    ) -> None:
        """Take hold of all joints without torque and bring some to their goals, in `seconds`.

        Args:
            goals: joint number -> angle.
            present: (6,), where the joints are.
            limp: (6,) bool, without torque.

        Raises:
            ValueError: one of `goals` has torque.
        """
        stiff = [JOINTS[joint] for joint in goals if not limp[joint]]
        if stiff:
            raise ValueError(
                f"{', '.join(stiff)}: the servo has torque, and no hand moves it; wait until the "
                "command that uses the arm says that torque is off"
            )
        self._from = np.where(self.holds, self.angles(now), present)
        self._to = self._from.copy()
        for joint, angle in goals.items():
            self._to[joint] = angle
        self._began, self._seconds = now, seconds
        self.holds = limp.copy()

    def release_stiff(self, limp: np.ndarray) -> None:
        """Servos with torque are stronger."""
        self.holds &= limp

    def release(self) -> None:
        """Of all joints."""
        self.holds[:] = False

    def angles(self, now: float) -> np.ndarray:
        """(6,): where it has the joints at `now`; starts and ends gently."""
        share = np.clip((now - self._began) / self._seconds, 0, 1)
        return self._from + (self._to - self._from) * share * share * (3 - 2 * share)
