"""The scripted expert of the place task: the lift's pick, then over the square, down and away."""

from typing import Any, ClassVar

import numpy as np

from so101_robobase.tasks.lift.pick import (
    HOVER_HEIGHT,
    LIFT_MARGIN,
    Phase,
    TopDownPick,
)
from so101_robobase.tasks.lift.teacher import LiftTeacher
from so101_robobase.tasks.place.config import PlaceConfig
from so101_robobase.tasks.steering import Plan

CENTRED = 0.012  # m in the plane from the square's middle, within which the cube goes all the way
FUNNEL = 3.0  # m over the table per m further away: a way down without a step in it
PRESSED = 0.001  # m under the table: the goal of the way down, so that the cube gets there
LANDED = 0.004  # m over the table, where the jaw opens
NEAR = 0.017  # m in the plane, within which it does
CLEAR = 0.004  # m from where the open fingers touch nothing: there they go up


class PickAndPlace(TopDownPick):
    """Decides anew at every call, like the pick; `target` (N, 2) m is set before each."""

    target: np.ndarray
    radius: float

    def _plan(
        self,
        joint_pos: np.ndarray,
        cube_pos: np.ndarray,
        cube_quat: np.ndarray,
        holding: np.ndarray | None,
        cube_half_size: np.ndarray | float,
    ) -> Plan:
        plan = super()._plan(joint_pos, cube_pos, cube_quat, holding, cube_half_size)
        assert holding is not None
        tcp, beside, goal = self._tcp, self._beside, plan.goal
        way = self.target - cube_pos[:, :2]
        distance = np.hypot(*way.T)
        height = cube_pos[:, 2] - cube_half_size  # of its lower side
        held = holding & (self.phase == Phase.LIFT)
        top = self._lift_height + LIFT_MARGIN - cube_half_size
        wanted = np.minimum(FUNNEL * np.maximum(distance - CENTRED, 0), top) - PRESSED
        # Sideways only as fast as it is high enough for where it is.
        free = np.clip((height + 0.02) / np.maximum(wanted + 0.02, 0.001), 0, 1) ** 4
        goal[held, :2] = (tcp[:, :2] + free[:, None] * way)[held]
        goal[held, 2] = (tcp[:, 2] + wanted - height)[held]
        opening = held & (height < LANDED) & (distance < NEAR)
        placed = ~held & (distance < self.radius) & (height < LANDED)
        plan.jaw[opening | placed] = self._arm.jaw_around
        aside = np.hypot(*(tcp - beside)[:, :2].T)
        goal[placed, :2] = beside[placed, :2]
        risen = np.where(aside < CLEAR, beside[:, 2] + 2 * HOVER_HEIGHT, tcp[:, 2])
        goal[placed, 2] = risen[placed]
        self.phase[placed] = Phase.ABOVE
        return plan


class PlaceTeacher(LiftTeacher):
    """Asks the scripted pick and place."""

    pick_class: ClassVar = PickAndPlace
    pick: PickAndPlace

    def __init__(self, task: Any):
        super().__init__(task)
        assert isinstance(task.config, PlaceConfig)
        self.pick.radius = task.config.place_radius

    def act(self) -> np.ndarray:
        self.pick.target = self._task.sim.mark_pos[:, 0]
        return super().act()
