"""The touch task's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from robobase.settings.kinds import Choice, Whole
from so101_robobase.tasks.config import Stages, TaskConfig
from so101_robobase.tasks.settings import ArmTaskSettings

STAGES = {
    0: "ready pose above the table, cube anywhere in the box",
    3: "gripper open 35 mm above the cube",
    4: "gripper open, 8 to 12 cm away from the cube",
}
REWARDS = {"touch": "how near the closed fingers are to the cube's top, and 1 while they touch it"}


@dataclass(frozen=True)
class TouchConfig(TaskConfig):
    """Touch the cube from above with closed fingers for `hold_steps`."""

    name: ClassVar = "touch"
    INSTRUCTION: ClassVar = "Touch the cube's top."
    STAGES: ClassVar = STAGES
    MIXTURE: ClassVar = {0: 0.6, 3: 0.2, 4: 0.2}
    REWARDS: ClassVar[Mapping[str, Any]] = REWARDS

    episode_length: Annotated[int, Whole(1, 100_000)] = 150
    hold_steps: Annotated[int, Whole(1, 100_000)] = 5
    stage: Annotated[Mapping[int, float] | int, Stages(STAGES)] = 0
    reward_version: Annotated[str, Choice(*REWARDS)] = "touch"


class TouchSettings(ArmTaskSettings):
    """Those of `env=so101_touch`."""

    config = TouchConfig
