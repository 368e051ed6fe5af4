"""What differs between rollouts on a real, a simulated and an emulated arm."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from so101_robobase.robot.arm_parts import ArmParts
from so101_robobase.robot.rollout.picture_stream import PictureStream
from so101_robobase.robot.rollout.workcell import Workcell


@dataclass(frozen=True)
class RolloutParts:
    """One arm and its surroundings."""

    arm: ArmParts
    stream: PictureStream
    workcell: Workcell
    state: Callable[[], dict[str, Any]]  # what is known of the scene when an episode begins
