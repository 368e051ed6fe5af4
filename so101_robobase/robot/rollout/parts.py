"""What differs between rollouts on a real, a simulated and an emulated arm."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from so101_robobase.robot.arms import ArmParts
from so101_robobase.robot.rollout.scenes import Scene
from so101_robobase.robot.rollout.sight import Sight


@dataclass(frozen=True)
class Parts:
    """One arm and its surroundings."""

    arm: ArmParts
    sight: Sight
    scene: Scene
    state: Callable[[], dict[str, Any]]  # what is known of the scene when an episode begins
