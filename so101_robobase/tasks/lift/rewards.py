"""Reward versions v1 to v20 of the lift, as a table of weights over named terms.

v1 to v19 are the original project's, v20 is ours; v12 is the place task's. A version is one row of
`VERSIONS`: the reward of a control step is the weighted sum of its terms. The terms are functions
of `RewardSignals`; nothing here touches a simulation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robobase.errors import UserError
from so101_robobase.arm.model import SO101
from so101_robobase.tasks.grasp import CUBE_REST_HEIGHT

CARRY_MARGIN = 0.02  # m above the lift height: where v20 wants the cube
STILL_SPEED = 0.2  # m/s, at which v20 pays a quarter of what a cube at rest earns
SUNK_HEIGHT = 0.01  # m, below this the cube is being pressed into the table
OFF_TABLE_HEIGHT = 0.02  # m
SMOOTH_HEIGHT = 0.06  # m, above this v11 and v12 charge for changes of action
RAISED_HEIGHT = 0.04  # m, where the second lift term of v18 and v19 starts
JAW_CLOSED = SO101.jaw_closed  # rad, for the 3 cm cube
REACHED = 0.7  # reach term beyond which v17 to v19 also look at the moving finger

Array = NDArray[np.float64]
Term = Callable[[Any, float], np.ndarray]
"""Of signals and the lift height."""


@dataclass(frozen=True)
class RewardSignals:
    """What a reward may depend on after one control step, for N simulations; every field is (N,).

    | field              | unit   | meaning                                                      |
    |--------------------|--------|--------------------------------------------------------------|
    | tcp_to_cube        | m      | distance between TCP and cube centre                         |
    | cube_z             | m      | height of the cube centre                                    |
    | grasping           | bool   | both fingers touch the cube, the jaw is closed               |
    | was_grasping       | bool   | the same, one control step earlier                           |
    | hold_count         | steps  | consecutive lifted steps, this one included                  |
    | success            | bool   | the task has succeeded                                       |
    | jaw_angle          | rad    | gripper joint, less `jaw_excess` where the cube is not 3 cm  |
    | moving_pad_to_cube | m      | distance between the moving finger's pad and the cube centre |
    | action_change_sq   | -      | squared Euclidean norm of the change of action               |
    | steps_open         | steps  | consecutive steps with the jaw more than 0.3 rad open (v15)  |
    | cube_speed         | m/s    | speed of the cube's centre                                   |
    """

    tcp_to_cube: np.ndarray
    cube_z: np.ndarray
    grasping: np.ndarray
    was_grasping: np.ndarray
    hold_count: np.ndarray
    success: np.ndarray
    jaw_angle: np.ndarray
    moving_pad_to_cube: np.ndarray
    action_change_sq: np.ndarray
    steps_open: np.ndarray
    cube_speed: np.ndarray


# Per version: reaching and penalties on the first line, grasping and lifting on the second.
# fmt: off
VERSIONS: dict[str, dict[str, float]] = {
    "v1":  {"reach": 1, "success": 10,
            "grasp": .25, "off_table": 1},
    "v2":  {"reach": 1, "success": 10,
            "grasp": .5, "height": 50, "lifted": 2},
    "v3":  {"reach": 1, "success": 10,
            "grasp": .25, "grasp_height": 40, "height": 10, "off_table": 1},
    "v4":  {"reach": 1, "success": 10,
            "grasp_not_sunk": .25, "grasp_height_not_sunk": 40, "height": 10, "off_table": 1},
    "v5":  {"reach": 1, "sunk": -50, "success": 10,
            "grasp": .25, "grasp_height": 40, "height": 10, "off_table": 1},
    "v6":  {"reach": 1, "sunk": -50, "success": 10,
            "grasp": .25, "grasp_height": 40, "off_table": 1},
    "v7":  {"reach": 1, "sunk": -50, "success": 10,
            "grasp": .25, "off_table": 1},
    "v8":  {"reach": 1, "sunk": -50, "drop": -2, "success": 10,
            "grasp": .25, "off_table": 1},
    "v9":  {"reach": 1, "sunk": -50, "drop": -2, "success": 10,
            "grasp": .25, "grasp_lift": 2, "off_table": 1},
    "v10": {"reach": 1, "sunk": -50, "drop": -2, "success": 10,
            "grasp": .25, "grasp_lift": 2, "off_table": 1, "at_lift_height": 1},
    "v11": {"reach": 1, "sunk": -50, "drop": -2, "action_change_high": -.01, "success": 10,
            "grasp": .25, "grasp_lift": 2, "off_table": 1, "lifted": 1},
    "v13": {"reach": 1, "sunk": -50, "drop": -2, "action_change_high": -.01, "success": 10,
            "grasp": .25, "grasp_lift": 2, "grasp_off_table": 1, "lifted": 1},
    "v14": {"reach": 1, "sunk": -50, "drop": -2, "action_change_held": -.02, "success": 10,
            "grasp": .25, "grasp_lift": 2, "grasp_off_table": 1, "lifted": 1},
    "v15": {"reach": 1, "sunk": -50, "drop": -2, "action_change_held": -.02, "open_long": -1,
            "success": 10,
            "grasp": .25, "grasp_lift": 2, "grasp_off_table": 1, "lifted": 1},
    "v16": {"reach": 1, "sunk": -50, "drop": -2, "action_change_held": -.02, "success": 10,
            "grasp": 1.5, "grasp_lift": 2, "grasp_off_table": 1, "lifted": 1},
    "v17": {"reach_both": 1, "sunk": -50, "drop": -2, "action_change_held": -.02, "success": 10,
            "grasp": 1.5, "grasp_lift": 2, "grasp_off_table": 1, "lifted": 1},
    "v18": {"reach_both": 1, "sunk": -50, "drop": -2, "action_change_held": -.02, "success": 10,
            "grasp": 1.5, "grasp_lift": 4, "grasp_off_table": 1, "grasp_raised": 2, "lifted": 1},
    "v19": {"reach_both": 1, "sunk": -50, "drop": -2, "action_change_held": -.02, "success": 10,
            "grasp": 1.5, "grasp_lift": 4, "grasp_off_table": 1, "grasp_raised": 2, "lifted": 1,
            "hold": .5},
    # Bounded: no pay for height beyond the goal, none for time; a still cube at the goal is best.
    # Unlike reach_both, closing never makes coming nearer with an open jaw cost anything.
    "v20": {"reach": 1, "closing": 1, "sunk": -50,
            "grasp": 1, "grasp_off_table": 1, "grasp_at_goal": 5, "lifted_still": 3},
}
# fmt: on


class Reward:
    """One version of the reward, evaluated for a batch.

    Args:
        version: a key of `versions`.
        lift_height: height of the cube centre that counts as lifted, m; above 0.04.
        versions, terms: the tables; another task may have its own.

    Raises:
        UserError: the version is unknown, or `lift_height` is too low for the lift terms.
    """

    def __init__(
        self,
        version: str,
        lift_height: float = 0.08,
        versions: Mapping[str, Mapping[str, float]] = VERSIONS,
        terms: Mapping[str, Term] | None = None,
    ):
        if version not in versions:
            raise UserError(f"reward_version={version!r} is unknown; known: {', '.join(versions)}")
        if not lift_height > RAISED_HEIGHT:
            raise UserError(
                f"lift_height={lift_height} is too low; give more than {RAISED_HEIGHT} m"
            )
        self.version = version
        self.lift_height = float(lift_height)
        self.weights = versions[version]
        self._terms = TERMS if terms is None else terms

    def __call__(self, signals: RewardSignals) -> Array:
        """Reward of the step, (N,) float64."""
        return sum(self.terms(signals).values(), np.zeros(np.shape(signals.cube_z)))

    def terms(self, signals: RewardSignals) -> dict[str, Array]:
        """The weighted terms whose sum is the reward, each (N,), in the order of the table."""
        return {
            name: weight
            * np.asarray(self._terms[name](signals, self.lift_height), dtype=np.float64)
            for name, weight in self.weights.items()
        }


def _reach(s: RewardSignals, lift_height: float) -> Array:
    return 1 - np.tanh(10 * s.tcp_to_cube)


def _reach_both(s: RewardSignals, lift_height: float) -> Array:
    """The TCP's reach; once it is near, the mean with the moving finger's."""
    reach = _reach(s, lift_height)
    finger = np.where(s.jaw_angle < JAW_CLOSED, 1.0, 1 - np.tanh(10 * s.moving_pad_to_cube))
    return np.where(reach < REACHED, reach, (reach + finger) / 2)


def _closing(s: RewardSignals, lift_height: float) -> Array:
    """How near the moving finger is to the cube, as far as the TCP has reached it."""
    return _reach(s, lift_height) * (1 - np.tanh(10 * s.moving_pad_to_cube))


def _lift(s: RewardSignals, lift_height: float) -> Array:
    """0 on the table, 1 at `lift_height`, and on upwards without a cap."""
    return np.maximum(s.cube_z - CUBE_REST_HEIGHT, 0) / (lift_height - CUBE_REST_HEIGHT)


def _raised(s: RewardSignals, lift_height: float) -> Array:
    return np.clip((s.cube_z - RAISED_HEIGHT) / (lift_height - RAISED_HEIGHT), 0, 1)


def _at_goal(s: RewardSignals, lift_height: float) -> Array:
    """0 on the table, 1 at `CARRY_MARGIN` above `lift_height`, and down again beyond."""
    goal = lift_height + CARRY_MARGIN
    return np.clip(1 - np.abs(s.cube_z - goal) / (goal - CUBE_REST_HEIGHT), 0, 1)


def _dropped(s: RewardSignals) -> np.ndarray:
    return np.logical_and(s.was_grasping, np.logical_not(s.grasping))


# H is `lift_height`. A term is what its weight multiplies.
TERMS: dict[str, Term] = {
    "reach": _reach,
    "reach_both": _reach_both,
    "closing": _closing,
    "sunk": lambda s, H: np.maximum(SUNK_HEIGHT - s.cube_z, 0),
    "drop": lambda s, H: _dropped(s),
    "grasp": lambda s, H: s.grasping,
    "grasp_height": lambda s, H: s.grasping * (s.cube_z - SUNK_HEIGHT),
    "grasp_not_sunk": lambda s, H: s.grasping * (s.cube_z > SUNK_HEIGHT),
    "grasp_height_not_sunk": lambda s, H: s.grasping * np.maximum(s.cube_z - SUNK_HEIGHT, 0),
    "grasp_lift": lambda s, H: s.grasping * _lift(s, H),
    "grasp_off_table": lambda s, H: s.grasping * (s.cube_z > OFF_TABLE_HEIGHT),
    "grasp_raised": lambda s, H: s.grasping * _raised(s, H),
    "grasp_at_goal": lambda s, H: s.grasping * _at_goal(s, H),
    "lifted_still": lambda s, H: (
        s.grasping * (s.cube_z > H) * (1 - np.tanh(s.cube_speed / STILL_SPEED))
    ),
    "height": lambda s, H: np.maximum(s.cube_z - SUNK_HEIGHT, 0),
    "off_table": lambda s, H: s.cube_z > OFF_TABLE_HEIGHT,
    "lifted": lambda s, H: s.cube_z > H,
    "at_lift_height": lambda s, H: np.abs(s.cube_z - H) < 0.005,
    "hold": lambda s, H: s.hold_count * (s.cube_z > H),
    "action_change_high": lambda s, H: s.action_change_sq * (s.cube_z > SMOOTH_HEIGHT),
    "action_change_held": lambda s, H: s.action_change_sq * ((s.cube_z > H) & (s.hold_count > 0)),
    "open_long": lambda s, H: np.clip(0.05 * (s.steps_open - 40) / 50, 0, 0.3),
    "success": lambda s, H: s.success,
}
