"""A driver whose arm is a `Body` in this process, in step with the loop's clock."""

import numpy as np

from so101_robobase.arm.alignment import Alignment, Units
from so101_robobase.arm.joints import JOINTS
from so101_robobase.arm.model import SO101
from so101_robobase.robot.emulator.faults import Faults
from so101_robobase.robot.loop.clock import SimulatedClock
from so101_robobase.robot.loop.driver import MotorHealth, Reading
from so101_robobase.robot.simulated.body import Body

IDS = SO101.each("servo")
RESOLUTION = 360 / 4096  # degrees of one encoder step


class SimulatedDriver:
    """Drives `body`; time passes only in `clock.wait_until`.

    Args:
        resolution: of the encoders and of goals, in degrees; 0 for none.

    Attributes:
        faults: `faults.JOINT` ones strike, by the clock; of others this arm knows nothing.
    """

    def __init__(
        self, body: Body, alignment: Alignment | None = None, resolution: float = RESOLUTION
    ):
        self.body = body
        joint_range = body.sim.scene.model.actuator_ctrlrange
        self.units = Units(alignment or Alignment(), joint_range)
        self.clock = SimulatedClock(self._advance)
        self.faults = Faults()
        self.connected = False
        self._goal = body.joint_pos
        self._resolution = np.deg2rad(resolution)
        self._rest = 0.0  # s that do not fill a substep

    def connect(self) -> None:
        self._apply_faults()
        self._goal = self.body.encoders
        self.body.limp = False
        self.connected = True

    def read(self) -> Reading:
        return Reading(self.clock.now(), self.units.to_servo(self._rounded(self.body.encoders)))

    def write(self, position: np.ndarray) -> None:
        position = np.asarray(position, np.float64)
        if not np.isfinite(position).all():
            raise ValueError(f"goal positions must be finite, not {position}")
        self._goal = self._rounded(self.units.to_model(position))

    def health(self, joint: int) -> MotorHealth:
        return MotorHealth(JOINTS[joint], 30.0, 7.4, float(self.body.load[joint]))

    @property
    def alarms(self) -> dict[str, tuple[str, ...]]:
        return {}

    def retried(self) -> list[str]:
        return []

    def release(self) -> list[str]:
        self.body.limp = True
        return []

    def close(self) -> None:
        self.connected = False

    def _apply_faults(self) -> None:
        self.faults.update(self.clock.now())
        self.body.faults.set_faults(self.faults.joints(IDS), self.body.joint_pos)

    def _rounded(self, angle: np.ndarray) -> np.ndarray:
        if self._resolution == 0:
            return angle
        return np.round(angle / self._resolution) * self._resolution

    def _advance(self, seconds: float) -> None:
        substeps, self._rest = divmod(self._rest + seconds + 1e-9, self.body.timestep)
        self._apply_faults()
        if substeps:
            self.body.advance(self._goal, int(substeps))
