"""The place task's settings."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from robobase.errors import UserError
from robobase.settings.kinds import Choice, Number, Range, Whole
from robobase.settings.setting import Need
from so101_robobase.sim.marks import Mark
from so101_robobase.tasks.config import REACH, CubeBox, Stages
from so101_robobase.tasks.lift.config import STAGES, LiftConfig
from so101_robobase.tasks.place.rewards import VERSIONS
from so101_robobase.tasks.settings import ArmTaskSettings

TARGET = Mark("target", half_size=0.03, rgba=(0.10, 0.35, 0.85, 1.0))


@dataclass(frozen=True)
class TargetBox(CubeBox):
    """Where the middle of the square lies, metres from the base; another place in every episode."""

    NEEDS: ClassVar[tuple[Need, ...]] = ()
    group: ClassVar = "target_box"

    x: Annotated[tuple[float, float], Range(Number(-REACH, REACH))] = (0.19, 0.29)
    y: Annotated[tuple[float, float], Range(Number(-REACH, REACH))] = (-0.07, 0.07)


@dataclass(frozen=True)
class PlaceConfig(LiftConfig):
    """Put the cube down on a square of 6 cm and let go of it.

    Attributes:
        lift_height: how high the cube is carried at least, m.
        target_apart: m, at least this far from the cube.
        place_radius: m, how far from the square's middle the cube may lie.
    """

    name: ClassVar = "place"
    INSTRUCTION: ClassVar = "Put the cube on the square."
    REWARDS: ClassVar[Mapping[str, Any]] = VERSIONS
    marks: ClassVar = (TARGET,)

    episode_length: Annotated[int, Whole(1, 100_000)] = 300
    hold_steps: Annotated[int, Whole(1, 100_000)] = 5
    stage: Annotated[Mapping[int, float] | int, Stages(STAGES)] = 0
    reward_version: Annotated[str, Choice(*VERSIONS)] = "v12"
    target_box: TargetBox = field(default_factory=TargetBox)
    target_apart: Annotated[float, Number(0, 0.2)] = 0.07
    place_radius: Annotated[float, Number(0.001, 0.1)] = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        box = self.target_box
        if math.hypot(box.x[1] - box.x[0], box.y[1] - box.y[0]) < 2 * self.target_apart:
            raise UserError(
                f"env.target_box is too small for a square {self.target_apart} m from the cube "
                "wherever that lies; make it larger, or env.target_apart smaller"
            )
        if self.sight.segmentation is not None:
            raise UserError(
                "env.sight.segmentation: no network knows the class 'target' yet; set it to null"
            )


class PlaceSettings(ArmTaskSettings):
    """Those of `env=so101_place`."""

    config = PlaceConfig
