"""The touch task's episodes: when the cube is touched, what a step pays."""

from typing import ClassVar

import numpy as np

from so101_robobase.sim.simulation import Simulation
from so101_robobase.tasks.judge import Judge
from so101_robobase.tasks.task import Task, norm

CLOSED = 0.1  # rad of the jaw
OFF_CENTRE = 0.012  # m in the plane from the cube's centre: the finger is on its top


def top(sim: Simulation) -> np.ndarray:
    """The middle of each cube's upper side, as it lies flat, m, (N, 3)."""
    return sim.cube_pos + sim.cube_half_size[:, None] * np.array([0, 0, 1])


class TouchJudge(Judge):
    """A closed finger touches the cube, and is above it."""

    def goal(self) -> np.ndarray:
        sim = self.sim
        off = norm((sim.tcp_pos - sim.cube_pos)[:, :2])
        above = (sim.tcp_pos[:, 2] > sim.cube_pos[:, 2]) & (off < OFF_CENTRE)
        return sim.touching.any(axis=1) & (sim.joint_pos[:, -1] < CLOSED) & above


class TouchTask(Task):
    """N episodes of the touch task; see `Task`."""

    judge_class: ClassVar = TouchJudge

    def reward(self, action: np.ndarray) -> np.ndarray:
        sim = self.sim
        near = 1 - np.tanh(10 * norm(sim.tcp_pos - top(sim)))
        closed = 1 - np.tanh(np.maximum(sim.joint_pos[:, -1], 0))
        return near * closed + self.judge.met
