"""The lift's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from robobase.settings.kinds import Choice, Number
from so101_robobase.tasks.config import Stages, TaskConfig
from so101_robobase.tasks.lift.rewards import RAISED_HEIGHT, VERSIONS
from so101_robobase.tasks.settings import ArmTaskSettings

STAGES = {
    0: "ready pose above the table, cube anywhere in the box",
    1: "cube held at lift height",
    2: "cube held on the table",
    3: "gripper open 35 mm above the cube",
    4: "gripper open, 8 to 12 cm away from the cube",
}


@dataclass(frozen=True)
class LiftConfig(TaskConfig):
    """Lift the cube above `lift_height` between both fingers, and hold it for `hold_steps`.

    Attributes:
        reward_version: what a step pays; v1 to v19 are the original project's.
        lift_height: of the cube's centre, m.
    """

    name: ClassVar = "lift"
    INSTRUCTION: ClassVar = "Lift the cube."
    STAGES: ClassVar = STAGES
    MIXTURE: ClassVar = {0: 0.6, 2: 0.1, 3: 0.1, 4: 0.2}
    REWARDS: ClassVar[Mapping[str, Any]] = VERSIONS

    stage: Annotated[Mapping[int, float] | int, Stages(STAGES)] = 3
    reward_version: Annotated[str, Choice(*VERSIONS)] = "v20"
    lift_height: Annotated[float, Number(above=RAISED_HEIGHT, most=0.5)] = 0.08

    @property
    def carry_height(self) -> float:
        return self.lift_height


class LiftSettings(ArmTaskSettings):
    """Those of `env=so101_lift`."""

    config = LiftConfig
