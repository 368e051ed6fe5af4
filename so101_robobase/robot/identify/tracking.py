"""Where simulated joints go when they are told what a recorded arm was told."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from so101_robobase.arm.joints import JOINTS, NUM_JOINTS
from so101_robobase.robot.recording.episode_log import EpisodeLog
from so101_robobase.sim.engine import Engine
from so101_robobase.sim.scene import Scene

FACTORS = ("stiffness", "damping", "joint_damping", "joint_friction")
"""What `ServoModel` has per joint, in the order in which arrays hold it here."""

_OUT_OF_REACH = (5.0, 5.0, 0.015, 1.0, 0.0, 0.0, 0.0)  # a cube's pose, m
_CHUNK = 500  # physics steps per call: bounds memory


class Tracker:
    """`num_arms` simulations of `scene` that follow recordings with servos of their own.

    Args:
        scene: its servos are what factors multiply.
        contacts: False is twice as fast and for recordings in free air.
        num_threads: of physics; 0 takes all cores.
    """

    def __init__(
        self, scene: Scene, num_arms: int = 1, contacts: bool = True, num_threads: int = 0
    ):
        self.num_arms = num_arms
        self._engine = Engine(scene, num_arms, num_threads, contacts)
        self._timestep = scene.config.timestep
        self._delay: np.ndarray = np.full((num_arms, NUM_JOINTS), scene.servo_delay)  # in steps

    def set_servos(self, factors: np.ndarray, latency: np.ndarray) -> None:
        """Give every arm `factors` (N, 6, 4), in the order of `FACTORS`, and `latency` (N, 6) s."""
        self._engine.scale_servos(np.arange(self.num_arms), *np.moveaxis(factors, -1, 0))
        self._delay = np.round(latency / self._timestep).astype(np.int64)

    def track(self, log: EpisodeLog) -> np.ndarray:
        """Positions (N, T, 6) rad at `log.times`, from the recorded start pose and at rest."""
        ticks = np.round((log.times - log.times[0]) / self._timestep).astype(np.int64)
        self._begin(log)
        steps = int(ticks[-1])
        path = np.empty((self.num_arms, steps + 1, NUM_JOINTS))
        path[:, 0] = log.measured[0]
        # Row 0 is what the servos were told before the episode.
        told = np.concatenate([log.measured[:1], log.commanded])
        newest = np.searchsorted(ticks, np.arange(steps), side="right")  # row of `told` by step
        newest = np.concatenate([[0], newest])  # entry 0: any time before
        joints = np.arange(NUM_JOINTS)
        for start in range(0, steps, _CHUNK):
            step = np.arange(start, min(start + _CHUNK, steps))
            sent = np.maximum(step[None, :, None] - self._delay[:, None] + 1, 0)  # (N, n, 6)
            path[:, step + 1] = self._engine.follow(told[newest[sent], joints])
        return path[:, ticks]

    def _begin(self, log: EpisodeLog) -> None:
        engine = self._engine
        cube = log.meta.get("cube") or _OUT_OF_REACH
        engine.reset()
        engine.qpos[:, :NUM_JOINTS], engine.qpos[:, NUM_JOINTS:] = log.measured[0], cube
        engine.ctrl[:] = log.measured[0]
        engine.forward()


@dataclass(frozen=True)
class TrackingError:
    """How far simulated joints were from recorded ones, degrees, each (6,)."""

    mean: np.ndarray  # of absolute values
    p95: np.ndarray
    most: np.ndarray

    @classmethod
    def of(cls, measured: Sequence[np.ndarray], simulated: Sequence[np.ndarray]) -> "TrackingError":
        """Of positions (T, 6) rad, over all episodes together."""
        pairs = zip(measured, simulated, strict=True)
        error = np.rad2deg(np.concatenate([np.abs(m - s) for m, s in pairs]))
        return cls(error.mean(axis=0), np.percentile(error, 95, axis=0), error.max(axis=0))

    @property
    def overall(self) -> float:
        """Mean absolute error of all joints, degrees."""
        return float(self.mean.mean())

    def table(self) -> str:
        """A line per joint, for people."""
        lines = [f"{'joint':<14}{'mean':>8}{'p95':>8}{'max':>8}  degrees"]
        for joint, *values in zip(JOINTS, self.mean, self.p95, self.most, strict=True):
            lines.append(f"{joint:<14}" + "".join(f"{value:8.3f}" for value in values))
        return "\n".join([*lines, f"{'all joints':<14}{self.overall:8.3f}"])
