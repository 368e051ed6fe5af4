"""When a cube is lifted."""

import numpy as np

from so101_robobase.tasks.judge import Judge
from so101_robobase.tasks.lift.config import LiftConfig


class LiftJudge(Judge):
    """The fingers hold the cube above `lift_height`."""

    config: LiftConfig

    def goal(self) -> np.ndarray:
        return self.grasping & (self.sim.cube_pos[:, 2] > self.config.lift_height)
