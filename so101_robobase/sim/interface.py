"""What lies between a controller and its arm: encoders, servos that follow them, and delays.

Where nothing is randomised all of it is transparent, live views of the truth without delay, but for
velocities where they are to be estimated.
"""

from typing import Any

import numpy as np

from so101_robobase.sim.delay import DelayLine
from so101_robobase.sim.randomization import PhysicalRandomization


class Interface:
    """Measured joints, delayed joint targets and the scene as the camera saw it, of N simulations.

    Args:
        config: says whether there are errors and delays at all, and how long delays may be.
        drawn: each simulation's offsets, noises and delays (`Variation.drawn`), live.
        qpos, qvel: (N, J + 7) and (N, J + 6), live truth.
        tick: s between two measurements, to estimate velocities as the robot does: as differences
            of measured positions; None: velocities are measured.
    """

    def __init__(
        self,
        config: PhysicalRandomization,
        drawn: dict[str, np.ndarray],
        qpos: np.ndarray,
        qvel: np.ndarray,
        tick: float | None = None,
    ):
        self._enabled = config.enabled
        self._tick = tick
        self._drawn = drawn
        self._qpos, self._qvel = qpos, qvel
        self._joints = joints = slice(drawn["calibration_offset"].shape[1])
        self._joint_pos = np.zeros((len(qpos), joints.stop))
        self._joint_vel = np.zeros((len(qpos), joints.stop))
        self._before = np.zeros((len(qpos), joints.stop))  # positions one measurement ago
        longest = config.action_latency[1] if config.enabled else 0
        self._commands = DelayLine(len(qpos), joints.stop, longest)
        longest = config.camera_latency[1] if config.enabled else 0
        self._scenes = DelayLine(len(qpos), qpos.shape[1], longest)

    @property
    def joint_pos(self) -> np.ndarray:
        """Measured joint positions, rad, (N, J)."""
        return self._joint_pos if self._enabled else self._qpos[:, self._joints]

    @property
    def joint_vel(self) -> np.ndarray:
        """Measured or estimated joint velocities, rad/s, (N, J)."""
        known = self._enabled or self._tick is not None
        return self._joint_vel if known else self._qvel[:, self._joints]

    @property
    def seen_qpos(self) -> np.ndarray:
        """State that the camera shows, (N, J + 7)."""
        return self._scenes.read(self._drawn["camera_latency"]) if self._enabled else self._qpos

    def true_target(self, target: np.ndarray) -> np.ndarray:
        """Where joints come to rest whose servos are told `target` (N, J), rad."""
        return target - self._drawn["calibration_offset"] if self._enabled else target

    def begin(
        self, ids: np.ndarray, ctrl: np.ndarray, rngs: list[np.random.Generator]
    ) -> np.ndarray:
        """New episodes in `ids` (n,), whose servos hold `ctrl` (n, J); returns what they were told.

        Both are targets in rad: `ctrl` of the true joints, the result (n, J) of the measured ones.
        """
        if self._enabled:
            self._commands.fill(ids, ctrl)
            self._scenes.fill(ids, self._qpos[ids])
            self._measure(ids, rngs)
        if self._tick is not None:
            self._joint_vel[ids] = 0
            self._before[ids] = self.joint_pos[ids]
        if not self._enabled:
            return ctrl
        return ctrl + self._drawn["calibration_offset"][ids]

    def send(self, target: np.ndarray, running: np.ndarray) -> np.ndarray:
        """Targets (N, J) that reach the servos of the `running` (N,) when told `target` (N, J)."""
        if not self._enabled:
            return target
        self._commands.push(running, self.true_target(target))
        return self._commands.read(self._drawn["action_latency"])

    def advance(self, running: np.ndarray, rngs: list[np.random.Generator]) -> None:
        """Measure the `running` (N,) simulations anew, after a control step."""
        if self._enabled:
            self._scenes.push(running, self._qpos)
            self._measure(np.flatnonzero(running), rngs)
        if self._tick is not None:
            here = self.joint_pos[running]
            self._joint_vel[running] = (here - self._before[running]) / self._tick
            self._before[running] = here

    def state_dict(self) -> dict[str, Any]:
        """Copies of everything remembered."""
        return {
            "joint_pos": self._joint_pos.copy(),
            "joint_vel": self._joint_vel.copy(),
            "before": self._before.copy(),
            "commands": self._commands.state_dict(),
            "scenes": self._scenes.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a `state_dict`."""
        self._joint_pos[:] = state["joint_pos"]
        self._joint_vel[:] = state["joint_vel"]
        self._before[:] = state.get("before", self._joint_pos)
        self._commands.load_state_dict(state["commands"])
        self._scenes.load_state_dict(state["scenes"])

    def _measure(self, ids: np.ndarray, rngs: list[np.random.Generator]) -> None:
        drawn = self._drawn
        for i in ids:
            position, velocity = rngs[i].standard_normal((2, self._joints.stop))
            self._joint_pos[i] = (
                self._qpos[i, self._joints]
                + drawn["calibration_offset"][i]
                + drawn["encoder_noise"][i] * position
            )
            self._joint_vel[i] = self._qvel[i, self._joints] + drawn["velocity_noise"][i] * velocity
