"""Whether a task is done: the one place that decides it, for episodes and for simulated robots."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from so101_robobase.base.remembers import Remembers
from so101_robobase.sim.simulation import Simulation
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.grasp import grasping


class Judge(Remembers, ABC):
    """Watches the N members of a simulation. Success: the goal is met for `hold_steps` on end.

    | attribute | shape, type | meaning                                        |
    |-----------|-------------|------------------------------------------------|
    | grasping  | (N,) bool   | both fingers touch the cube, the jaw is closed |
    | met       | (N,) bool   | the goal is met now                            |
    | count     | (N,) int    | for how long without a break                   |

    Args:
        sim: what is watched.
        config: says what the goal is.
        per_step: units of `count` in a control step.
    """

    # by the names that they have in snapshots
    remembered: ClassVar = {"hold_count": "count", "grasping": "grasping", "lifted": "met"}

    def __init__(self, sim: Simulation, config: TaskConfig, per_step: int = 1):
        self.sim, self.config = sim, config
        self._needed = config.hold_steps * per_step
        self.grasping = np.zeros(sim.num_envs, bool)
        self.met = np.zeros(sim.num_envs, bool)
        self.count = np.zeros(sim.num_envs, np.int64)

    @abstractmethod
    def goal(self) -> np.ndarray:
        """Whether the present state is what the task asks for, (N,) bool."""

    @property
    def success(self) -> np.ndarray:
        """The goal has been met for long enough, (N,) bool."""
        return self.count >= self._needed

    def reset(self, ids: np.ndarray) -> None:
        """The members `ids` begin anew."""
        self.count[ids] = 0
        self.look()

    def look(self) -> None:
        """Judge the present state; no time has passed."""
        self.grasping[:] = grasping(self.sim)
        self.met[:] = self.goal()

    def advance(self, running: np.ndarray, units: int = 1) -> None:
        """Judge the present state of the `running` members (N,) bool, `units` of time later."""
        self.look()
        self.count[running] = np.where(self.met, self.count + units, 0)[running]
