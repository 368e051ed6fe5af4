"""The place task's reward: v12 of the original project."""

from dataclasses import dataclass

import numpy as np

from so101_robobase.tasks.grasp import CUBE_REST_HEIGHT
from so101_robobase.tasks.lift import rewards
from so101_robobase.tasks.lift.rewards import RewardSignals, Term

PLACE_RADIUS = 0.03  # m, cube to target in the plane
PLACED_HEIGHT = 0.025  # m

# fmt: off
VERSIONS: dict[str, dict[str, float]] = {
    "v12": {"reach": 1, "sunk": -50, "drop_off_target": -2, "action_change_high": -.01,
            "success": 10,
            "grasp": .25, "grasp_lift": 2, "off_table": 1, "lifted": 1,
            "to_target": 1, "carried": 2, "lowered": 1, "released": 3},
}
# fmt: on


@dataclass(frozen=True)
class PlaceSignals(RewardSignals):
    """The lift's, and `cube_to_target` (N,): distance in the plane, m."""

    cube_to_target: np.ndarray


def _near(s: PlaceSignals) -> np.ndarray:
    return s.cube_to_target < PLACE_RADIUS


TERMS: dict[str, Term] = {
    **rewards.TERMS,
    "drop_off_target": lambda s, H: (
        s.was_grasping & ~s.grasping & (s.cube_to_target > PLACE_RADIUS)
    ),
    "to_target": lambda s, H: 1 - np.tanh(5 * s.cube_to_target),
    "carried": lambda s, H: _near(s) & s.grasping & (s.cube_z > H),
    "lowered": lambda s, H: _near(s) * np.maximum(H - s.cube_z, 0) / (H - CUBE_REST_HEIGHT),
    "released": lambda s, H: _near(s) & ~s.grasping & (s.cube_z < PLACED_HEIGHT),
}
