"""The place task's episodes: where the square lies, when the cube is on it, what a step pays."""

from typing import ClassVar

import numpy as np

from so101_robobase.sim.simulation import Simulation
from so101_robobase.tasks.judge import Judge
from so101_robobase.tasks.lift.task import LiftTask
from so101_robobase.tasks.place.config import PlaceConfig
from so101_robobase.tasks.place.rewards import PLACED_HEIGHT, TERMS, PlaceSignals
from so101_robobase.tasks.starts import Starts
from so101_robobase.tasks.task import norm


def cube_to_target(sim: Simulation) -> np.ndarray:
    """Distance of the cube's centre from the square's in the plane, m, (N,)."""
    return norm(sim.cube_pos[:, :2] - sim.mark_pos[:, 0])


class PlaceStarts(Starts):
    """The lift's starts with the square somewhere away from the cube."""

    config: PlaceConfig

    def arrange(self, qpos: np.ndarray, rng: np.random.Generator) -> None:
        box, apart, cube = (
            self.config.target_box,
            self.config.target_apart,
            self._sim.scene.cube_pos,
        )
        while True:
            target = rng.uniform(*box.x), rng.uniform(*box.y)
            if np.hypot(*(target - qpos[cube][:2])) >= apart:
                break
        qpos[self._sim.scene.cube_quat.stop :][:2] = target


class PlaceJudge(Judge):
    """The cube lies on the square and no finger touches it."""

    config: PlaceConfig

    def goal(self) -> np.ndarray:
        lies = self.sim.cube_pos[:, 2] < PLACED_HEIGHT
        near = cube_to_target(self.sim) < self.config.place_radius
        return lies & near & ~self.sim.touching.any(axis=1)


class PlaceTask(LiftTask):
    """N episodes of the place task; see `Task`."""

    config: PlaceConfig
    starts_class: ClassVar = PlaceStarts
    judge_class: ClassVar = PlaceJudge
    terms: ClassVar = TERMS

    def info(self) -> dict[str, np.ndarray]:
        """`LiftTask.info`, and `cube_to_target`, float64: m in the plane."""
        return {**super().info(), "cube_to_target": cube_to_target(self.sim)}

    def reward(self, action: np.ndarray) -> np.ndarray:
        to_target = cube_to_target(self.sim)
        return self.pays(PlaceSignals(**self.signals(action), cube_to_target=to_target))
