"""The servos of one arm: how they differ from the robot model's, and how late they follow."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import ClassVar

import mujoco
import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.model import SO101
from so101_robobase.base.remembers import Remembers

PerJoint = tuple[float, ...]

MOST_FACTOR = 100
"""Times the robot model's own value; identified arms have 0.02 to 50."""
MOST_LATENCY = 0.5  # s; more is a fault, not a servo


@dataclass(frozen=True)
class ServoModel:
    """Factors on the robot model's own values, by joint, and the servos' latency.

    `so101_robobase robot identify` fits them to recordings of a real arm.
    """

    stiffness: PerJoint  # position gain
    damping: PerJoint  # velocity gain
    joint_damping: PerJoint
    joint_friction: PerJoint  # dry friction
    latency: float  # s, from a command to the servo's motion

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name == "latency":
                continue
            given = tuple(float(value) for value in getattr(self, item.name))
            joints = len(self.stiffness)
            if len(given) != joints or not all(0 <= value <= MOST_FACTOR for value in given):
                raise UserError(
                    f"servos.{item.name}={list(given)} must be {joints} factors of 0 to "
                    f"{MOST_FACTOR}, one per joint"
                )
            object.__setattr__(self, item.name, given)
        if not min(self.stiffness) > 0:
            raise UserError(f"servos.stiffness={list(self.stiffness)} must be above 0")
        if not 0 <= self.latency <= MOST_LATENCY:
            raise UserError(
                f"servos.latency={self.latency} must lie between 0 and {MOST_LATENCY} s"
            )

    def apply(self, model: mujoco.MjModel) -> None:
        """Multiply the servos and joints of `model`, in place; its latency is not the model's.

        Raises UserError where it has more or fewer servos.
        """
        if len(self.stiffness) != model.nu:
            raise UserError(
                f"servos of {len(self.stiffness)} joints do not fit an arm with {model.nu}"
            )
        joints = slice(model.nu)
        model.actuator_gainprm[:, 0] *= self.stiffness
        model.actuator_biasprm[:, 1] *= self.stiffness
        model.actuator_biasprm[:, 2] *= self.damping
        model.dof_damping[joints] *= self.joint_damping
        model.dof_frictionloss[joints] *= self.joint_friction


class CommandDelay(Remembers):
    """Targets of N arms that reach the servos a whole number of physics steps late.

    Args:
        steps: by how many; 0 passes everything through at once.
        num_joints: J, of one arm.
    """

    remembered: ClassVar = {"pending": "_pending"}

    def __init__(self, num_envs: int, steps: int, num_joints: int = SO101.num_joints):
        self._pending = np.zeros((steps, num_envs, num_joints))  # next to arrive first

    def fill(self, rows: np.ndarray | slice, target: np.ndarray) -> None:
        """Nothing but `target` (n, J) has ever been sent to arms `rows` (n,)."""
        self._pending[:, rows] = target

    def send(
        self, target: np.ndarray, running: np.ndarray, steps: int
    ) -> Iterator[tuple[np.ndarray, int]]:
        """Targets (N, J) that hold for the next physics steps, and for how many of `steps` each.

        `target` (N, J) is sent now and until then; arms that are not `running` (N,) wait.
        """
        late = len(self._pending)
        if late == 0:
            yield target, steps
            return
        coming = np.concatenate([self._pending, np.repeat(target[None], steps, axis=0)])
        self._pending[:, running] = coming[steps:, running]
        now = coming[:steps]
        changes = 1 + np.flatnonzero((now[1:] != now[:-1]).any(axis=(1, 2)))
        starts = [0, *changes.tolist(), steps]
        for start, end in pairwise(starts):
            yield now[start], end - start
