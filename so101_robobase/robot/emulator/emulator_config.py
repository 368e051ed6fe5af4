"""What an emulator process is told at its start."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.arm.model import SO101
from so101_robobase.base.settings import from_mapping
from so101_robobase.robot.emulator.faults import Fault
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.entry import entry
from so101_robobase.tasks.lift.config import LiftConfig


@dataclass(frozen=True)
class EmulatorConfig:
    """One emulated arm with its table and cube.

    Attributes:
        task: the simulated scene, and what is to be done in it.
        seed: of the start state, as in an evaluation, and of the faults' chances.
        arm: which arm: others have other homing offsets, and so another calibration.
        pose: joint angles (6,) rad in which the arm is found; None: as the episode begins. It has
            no torque at first, so it comes to rest from there.
        ids: of the servos in `JOINTS` order, to emulate swapped ones.
        timing: let bytes take their time on a line of 1 Mbaud.
        faults: counted from when the arm is ready.
    """

    task: TaskConfig = field(default_factory=LiftConfig)
    seed: int = 0
    arm: int = 0
    pose: Sequence[float] | None = None
    ids: Sequence[int] = SO101.each("servo")
    timing: bool = True
    faults: Sequence[Fault] = ()

    def __post_init__(self) -> None:
        if self.seed < 0 or self.arm < 0:
            raise UserError(f"emulator seed={self.seed} and arm={self.arm} must be 0 or more")
        if self.pose is not None and (
            len(self.pose) != NUM_JOINTS or not np.isfinite(self.pose).all()
        ):
            raise UserError(f"emulator pose={self.pose} must be {NUM_JOINTS} angles in rad")
        if len(self.ids) != NUM_JOINTS or not all(0 <= one < 254 for one in self.ids):
            raise UserError(f"emulator ids={self.ids} must be {NUM_JOINTS} numbers from 0 to 253")

    def to_json(self) -> str:
        """For another process; see `from_json`."""
        return json.dumps({**dataclasses.asdict(self), "name": self.task.name})

    @classmethod
    def from_json(cls, text: str) -> "EmulatorConfig":
        """Back from `to_json`. Raises UserError for what is not allowed."""
        values = json.loads(text)
        config = entry(str(values.pop("name"))).config
        task = from_mapping(config, values.pop("task"), "emulator.task")
        return replace(from_mapping(cls, values, "emulator"), task=task)
