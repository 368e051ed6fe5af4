"""The lift's episodes: when a cube is lifted, what a step pays."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from so101_robobase.tasks.grasp import jaw_angle
from so101_robobase.tasks.judge import Judge
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.rewards import TERMS, Reward, RewardSignals, Term
from so101_robobase.tasks.task import Task, norm

JAW_OPEN = 0.3  # rad, v15 counts the steps beyond it (original project)


class LiftJudge(Judge):
    """The fingers hold the cube above `lift_height`."""

    config: LiftConfig

    def goal(self) -> np.ndarray:
        return self.grasping & (self.sim.cube_pos[:, 2] > self.config.lift_height)


class LiftTask(Task):
    """N lift episodes; see `Task`.

    | attribute  | shape, type | meaning                                          |
    |------------|-------------|--------------------------------------------------|
    | lifted     | (N,) bool   | grasping, and the cube is above `lift_height`    |
    | steps_open | (N,) int    | consecutive control steps with the jaw open      |
    """

    config: LiftConfig
    judge_class: ClassVar[type[Judge]] = LiftJudge
    counters: ClassVar = ("steps_open",)
    terms: ClassVar[Mapping[str, Term]] = TERMS

    def __init__(self, config: LiftConfig, num_envs: int, num_threads: int | None = None):
        super().__init__(config, num_envs, num_threads)
        self.pays = Reward(config.reward_version, config.lift_height, config.REWARDS, self.terms)
        self.steps_open = np.zeros(num_envs, np.int64)
        self._was_grasping = np.zeros(num_envs, bool)

    @property
    def lifted(self) -> np.ndarray:
        return self.grasping & (self.sim.cube_pos[:, 2] > self.config.lift_height)

    @property
    def success_pay(self) -> float:
        return self.pays.weights.get("success", 0.0)

    def info(self) -> dict[str, np.ndarray]:
        """`Task.info`, and `is_lifted`, bool: grasped above `lift_height`."""
        return {**super().info(), "is_lifted": self.lifted.copy()}

    def begin_counting(self, ids: np.ndarray) -> None:
        self.steps_open[ids] = 0

    def before_judging(self) -> None:
        self._was_grasping = self.grasping.copy()

    def count(self, running: np.ndarray) -> None:
        is_open = jaw_angle(self.sim) > JAW_OPEN
        self.steps_open[running] = np.where(is_open, self.steps_open + 1, 0)[running]

    def reward(self, action: np.ndarray) -> np.ndarray:
        return self.pays(RewardSignals(**self.signals(action)))

    def signals(self, action: np.ndarray) -> dict[str, Any]:
        """The fields of `RewardSignals` after `action` (N, A)."""
        sim = self.sim
        return {
            "tcp_to_cube": self.tcp_to_cube,
            "cube_z": sim.cube_pos[:, 2],
            "grasping": self.grasping,
            "was_grasping": self._was_grasping,
            # The published formula never met more: the original's episode ended on success.
            "hold_count": np.minimum(self.hold_count, self.config.hold_steps),
            "success": self.success,
            "jaw_angle": jaw_angle(sim),
            "moving_pad_to_cube": norm(sim.cube_pos - sim.moving_pad_pos),
            "action_change_sq": self.action_change_sq(action),
            "steps_open": self.steps_open,
            "cube_speed": norm(sim.cube_velocity),
        }
