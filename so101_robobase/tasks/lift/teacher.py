"""The scripted pick beside a running task: what it would do now, for demonstrations and labels."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.pick import TopDownPick
from so101_robobase.tasks.task import Task
from so101_robobase.tasks.teacher import Teacher


class LiftTeacher(Teacher):
    """Asks the scripted pick.

    Attributes:
        pick: the scripted pick of these episodes.
    """

    pick_class: ClassVar[type[TopDownPick]] = TopDownPick

    def __init__(self, task: Task):
        super().__init__(task)
        config = task.config
        assert isinstance(config, LiftConfig)
        self.pick = self.pick_class(
            config.control,
            task.sim.kinematics,
            task.sim.scene.model.actuator_ctrlrange,
            task.num_envs,
            config.action_repeat,
            config.lift_height,
        )

    def act(self) -> np.ndarray:
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
        self.pick.reset(ids)

    def state_dict(self) -> dict[str, Any]:
        return self.pick.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.pick.load_state_dict(state)
