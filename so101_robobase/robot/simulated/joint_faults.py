"""What is wrong with the joints of a simulated arm: what encoders show, where servos drive them."""

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from so101_robobase.arm.joints import NUM_JOINTS


class JointFaults:
    """Faults of kind `emulator.faults.JOINT`; angles in rad, `JOINTS` order.

    Attributes:
        any: whether there is one.
    """

    def __init__(self, model: mujoco.MjModel):
        self.any = False
        # rad, between command and joint, from which on the model's servos give all that they have
        self._full = model.actuator_forcerange[:, 1] / model.actuator_gainprm[:, 0]
        self._faults: list[dict[str, float]] = [{} for _ in range(NUM_JOINTS)]
        self._seconds = np.zeros(NUM_JOINTS)  # since a joint's faults have changed
        self._began = np.zeros(NUM_JOINTS)  # where the joint was then
        self._showed = np.zeros(NUM_JOINTS)  # what its encoder showed

    def set_faults(self, faults: Sequence[Mapping[str, float]], joint_pos: np.ndarray) -> None:
        """From now on each joint, at `joint_pos` (6,), has `faults`, kind -> value."""
        if not (self.any or any(faults)):
            return
        changed = [joint for joint in range(NUM_JOINTS) if faults[joint] != self._faults[joint]]
        shown = self.shown(joint_pos) if changed else joint_pos
        for joint in changed:
            self._faults[joint] = dict(faults[joint])
            self._seconds[joint], self._began[joint] = 0.0, joint_pos[joint]
            self._showed[joint] = shown[joint]
        self.any = any(self._faults)

    def pass_time(self, seconds: float) -> None:
        """Drifting and running away go on."""
        self._seconds += seconds

    def shown(self, joint_pos: np.ndarray) -> np.ndarray:
        """What the encoders of joints at `joint_pos` (6,) show."""
        if not self.any:
            return joint_pos
        shown = np.array(joint_pos, np.float64)
        for joint, faults in enumerate(self._faults):
            if "mirrored" in faults:
                shown[joint] *= -1
            shown[joint] += faults.get("offset", 0.0)
            shown[joint] += faults.get("drift", 0.0) * self._seconds[joint]
            if "frozen" in faults:
                shown[joint] = self._showed[joint]
        return shown

    def driven(self, goal: np.ndarray, joint_pos: np.ndarray) -> np.ndarray:
        """(6,) where the servos, told to bring what encoders show to `goal` (6,), drive joints."""
        driven, shown = np.array(goal, np.float64), self.shown(joint_pos)
        for joint, faults in enumerate(self._faults):
            if not faults:
                continue
            factor = -1.0 if "reversed" in faults else faults.get("gain", 1.0)
            wanted = self._showed[joint] + factor * (goal[joint] - self._showed[joint])
            error = wanted - shown[joint]
            driven[joint] = joint_pos[joint] + (-error if "mirrored" in faults else error)
            if "runaway" in faults:
                driven[joint] = self._began[joint] + faults["runaway"] * self._seconds[joint]
            if "weak" in faults:
                most = faults["weak"] * self._full[joint]
                low, high = joint_pos[joint] - most, joint_pos[joint] + most
                driven[joint] = np.clip(driven[joint], low, high)
        return driven
