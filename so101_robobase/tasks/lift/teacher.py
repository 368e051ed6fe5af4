"""The scripted pick beside a running task: what it would do now, for demonstrations and labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from so101_robobase.tasks.lift.pick import TopDownPick
from so101_robobase.tasks.lift.task import LiftTask


class Teacher:
    """Follows the N episodes of a task, whoever acts in them.

    Args:
        task: its privileged state is what the pick sees.

    Attributes:
        pick: the scripted pick of these episodes.
    """

    def __init__(self, task: LiftTask):
        self._task = task
        self.pick = TopDownPick(
            task.config.control,
            task.sim.kinematics,
            task.sim.scene.model.actuator_ctrlrange,
            task.num_envs,
            task.config.action_repeat,
            task.config.lift_height,
        )

    def act(self) -> np.ndarray:
        """The pick's actions in the task's present states, (N, A) float32 in [-1, 1].

        Call it once per policy step.
        """
        task = self._task
        actions = self.pick.act(
            task.sim.joint_pos,
            task.sim.cube_pos,
            task.sim.cube_quat,
            task.sim.joint_target,
            task.grasping,
            task.sim.cube_half_size,
        )
        return actions.astype(np.float32)

    def reset(self, ids: np.ndarray | None = None) -> None:
        """Members `ids` (default all) begin a new episode."""
        self.pick.reset(ids)

    def state_dict(self) -> dict[str, Any]:
        """What it remembers of the running episodes."""
        return self.pick.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()` of a teacher of as many episodes."""
        self.pick.load_state_dict(state)
