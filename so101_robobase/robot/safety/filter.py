"""Limits of what may be sent to the servos, and the filter that every command passes.

Commands and measurements are joint positions (6,) in rad, `JOINTS` order, once per control tick.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robobase.errors import UserError
from so101_robobase.arm.clearance import Clearance, Posture, furthest, furthest_arm_first
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.robot.safety.bounds import Bounds, keep_within

Array = NDArray[np.float64]
PerJoint = tuple[float, float, float, float, float, float]
Point = tuple[float, float, float]

_ARM = slice(0, NUM_JOINTS - 1)
_GRIPPER = slice(NUM_JOINTS - 1, NUM_JOINTS)
_FALL = 0.25  # of the height above the floor, that one tick may lose beside `max_descent`
_TINY = 1e-4
ALLOWED: Bounds = {
    "joint_margin": ((0.0,) * 6, (0.5,) * 6),
    "max_step": ((_TINY,) * 6, (0.1,) * 5 + (0.3,)),
    "max_lead": ((_TINY,) * 6, (0.3,) * 5 + (0.6,)),
    "max_jump": ((_TINY,) * 6, (1.0,) * 6),
    "workspace_low": ((0.04, -0.40, -0.01), (0.5, 0.4, 0.4)),
    "workspace_high": ((0.04, -0.4, 0.01), (0.55, 0.40, 0.50)),
    "floor": (-0.005, 0.2),
    "sag": (0.0, 0.02),
    "max_descent": (0.0005, 0.02),
    "slow_speed": ((_TINY,) * 6, (1.5,) * 5 + (3.0,)),
}
"""Least and greatest value of every limit; one of the two is the loosest that can be set."""


@dataclass(frozen=True)
class SafetyLimits:
    """What a command may be. Any limit may be tightened; none loosened beyond `ALLOWED`.

    Raises UserError for a limit that is no number or outside `ALLOWED`.

    Attributes:
        joint_margin: rad that a command stays away from the ends of the model's joint ranges, so
            that the strong joints do not press against their stops. None for wrist and gripper: the
            task is done at their ends (wrist_flex points straight down there). A margin of 0.01 to
            0.02 rad cost the policy of devlog 009 1 to 4 of 100 episodes; train with it instead.
        max_step: rad per tick of 20 ms. A little above `ControlConfig.joint_scale`.
        max_lead: rad of the command before the measured joint, which bounds the servo's force. A
            little above `ControlConfig.max_lead`.
        max_jump: rad between two measurements. An unloaded servo turns 0.1 rad per tick, an arm
            that is pushed perhaps 0.2; more counts as a false reading until the next confirms it.
        workspace_low, workspace_high: m, box for the tool centre point (`ControlConfig`'s and some
            slack; the ready pose and every cube of stage 0 lie well inside).
        floor: m above the table, lowest clearance of a commanded pose. Targets of the policy of
            devlog 009 go below it in 1 of 5,000 ticks, the scripted pick's never.
        sag: m by which the measured pose may be below `floor` before only raising moves pass:
            lagging joints, encoder resolution and alignment make a few mm.
        max_descent: m per tick by which the lowest point of the commanded pose may come down at the
            floor; higher up a quarter of its height is added. Without it, a fall of all joints at
            once hits the table at 1.5 m/s. Successful episodes stay below 0.010.
        slow_speed: rad/s of moves to the start pose and back.
    """

    joint_margin: PerJoint = (0.02, 0.02, 0.02, 0.0, 0.0, 0.0)
    max_step: PerJoint = (0.06, 0.06, 0.06, 0.06, 0.06, 0.12)
    max_lead: PerJoint = (0.17, 0.17, 0.17, 0.17, 0.17, 0.35)
    max_jump: PerJoint = (0.5, 0.5, 0.5, 0.5, 0.5, 0.5)
    workspace_low: Point = (0.08, -0.32, 0.0)
    workspace_high: Point = (0.50, 0.32, 0.42)
    floor: float = 0.001
    sag: float = 0.005
    max_descent: float = 0.005
    slow_speed: PerJoint = (0.8, 0.8, 0.8, 0.8, 0.8, 1.6)

    def __post_init__(self) -> None:
        keep_within(self, "safety", ALLOWED)
        if not np.less(self.workspace_low, self.workspace_high).all():
            raise UserError("safety.workspace_low must be below safety.workspace_high")


class Intervention(StrEnum):
    """Why a command is not what was asked for."""

    TARGET = "target is not six finite numbers"
    READING = "measured position is not six finite numbers"
    JUMP = "measured position jumped"
    JOINT_LIMIT = "joint limit"
    STEP = "step"
    LEAD = "lead"
    WORKSPACE = "workspace"
    FLOOR = "floor"
    DESCENT = "descent"


class Decision(NamedTuple):
    """What to send in one tick."""

    command: Array  # (6,) rad
    interventions: tuple[Intervention, ...]  # empty: the command is what was asked for


class SafetyFilter:
    """Turns any target into a command inside `limits`.

    In order of precedence, where they cannot all hold:

    1. *Joint limits*. A command never violates them, or, if the arm was found beyond them, never
       more than the command before.
    2. *Force*: the lead over the measured joints. It comes before the step, for a servo's torque
       grows with the lead: an arm that is pushed away must give way, and a command that moves
       towards the arm makes it no faster. It holds at every tick, wherever encoders say that the
       arm is.
    3. *Where*: workspace and floor, violated never more than by the command before, unless
       nothing else that this filter finds is within the lead. `BodyWatch` ends the work then.
    4. *Speed*: the step from the last command.

    A target or measurement that is no six finite numbers, or a measurement that is further from
    the last than an arm can move, holds the last command (a bad target within the lead).

    Whoever integrates targets should go on from `command` after every intervention, so that
    nothing winds up.

    Args:
        joint_range: (6, 2) rad, ends of the model's joints.
        clearance: of the model.

    Attributes:
        command: (6,) rad, the last one.
        clearance: as given.
    """

    def __init__(self, limits: SafetyLimits, joint_range: np.ndarray, clearance: Clearance):
        lower, upper = np.asarray(joint_range, np.float64).T
        margin = np.array(limits.joint_margin)
        self.limits = limits
        self.lower: Array = lower + margin
        self.upper: Array = upper - margin
        if not (self.lower < self.upper).all():
            raise UserError(f"safety.joint_margin={limits.joint_margin} leaves a joint no room")
        self.clearance = clearance
        self._step = np.array(limits.max_step)
        self._lead = np.array(limits.max_lead)
        self._jump = np.array(limits.max_jump)
        self._box = np.array(limits.workspace_low), np.array(limits.workspace_high)
        self.reset(np.clip(np.zeros(NUM_JOINTS), self.lower, self.upper))

    def reset(self, command: np.ndarray) -> None:
        """Go on from `command` (6,) rad: what the servos hold, usually where the arm was found.

        Raises ValueError for anything but six finite numbers.
        """
        given = _six(command)
        if given is None:
            raise ValueError(f"command must be six finite numbers, not {command!r}")
        self.command: Array = given
        self._measured: Array | None = None

    @property
    def joint_range(self) -> Array:
        """(6, 2) rad, ends of the joints less the margin: a controller's `joint_range`."""
        return np.stack([self.lower, self.upper], axis=1)

    def violation(self, pose: np.ndarray) -> float:
        """m below the floor plus m outside the workspace of `pose` (6,); 0 where both are kept."""
        return self._violation(self.clearance(pose), self.limits.floor)

    def filter(self, target: Any, measured: Any) -> Decision:
        """The command for this tick, as near to `target` as the limits allow."""
        notes: list[Intervention] = []
        here = self._accept(measured, notes)
        wanted = _six(target)
        if wanted is None:
            notes.append(Intervention.TARGET)
            wanted = self.command
        if here is None:
            return Decision(self.command.copy(), tuple(notes))
        wanted = self._bounded(wanted, here, notes)
        self.command = self._placed(wanted, here, notes)
        return Decision(self.command.copy(), tuple(dict.fromkeys(notes)))

    def _accept(self, measured: Any, notes: list[Intervention]) -> Array | None:
        """The measured position, if it can be believed."""
        here = _six(measured)
        if here is None:
            notes.append(Intervention.READING)
            return None
        before, self._measured = self._measured, here
        if before is not None and (np.abs(here - before) > self._jump).any():
            notes.append(Intervention.JUMP)
            return None
        return here

    def _bounded(self, wanted: Array, here: Array, notes: list[Intervention]) -> Array:
        """`wanted` within joint limits, step and lead."""
        lower, upper = self._joint_limits()
        limited = np.clip(wanted, lower, upper)
        if (limited != wanted).any():
            notes.append(Intervention.JOINT_LIMIT)
        change = limited - self.command
        # One factor for the whole arm: shortened joint by joint, the gripper would leave its path.
        for part in (_ARM, _GRIPPER):
            excess = (np.abs(change[part]) / self._step[part]).max()
            if excess > 1 + 1e-9:
                change[part] /= excess
                notes.append(Intervention.STEP)
        stepped = np.clip(self.command + change, lower, upper)
        led = self._led(stepped, here)
        if (led != stepped).any():
            notes.append(Intervention.LEAD)
        return led

    def _placed(self, wanted: Array, here: Array, notes: list[Intervention]) -> Array:
        """The pose on the way to `wanted` that violates workspace and floor no more than now."""
        ground = self.limits.floor
        now = self.clearance(self.command)
        if self.clearance(here).clearance < ground - self.limits.sag:
            ground = max(ground, float(now.clearance))
        allowed = self._violation(now, ground)
        start = self._led(self.command, here)
        if (start != self.command).any():
            fits = self._judge(ground, allowed, notes)
            if not fits(start):
                # The arm was pushed, and giving way joint by joint leads to where nothing may go.
                resting = np.clip(here, *self._joint_limits())
                if fits(resting):
                    return furthest(resting, start, fits)
                raised = []
                for pose in (resting, start, wanted):
                    raised.append(self._raised(pose, here))
                    if fits(raised[-1]):
                        return furthest(raised[-1], start, fits)
                return min(raised, key=self.violation)
            now = self.clearance(start)
        height = float(now.clearance)
        drop = self.limits.max_descent + _FALL * max(0.0, height - ground)
        fits = self._judge(max(ground, height - drop), allowed, notes)
        if fits(wanted):
            return wanted
        return furthest_arm_first(start, wanted, fits)

    def _raised(self, pose: Array, here: Array) -> Array:
        """`pose` with one joint after the other turned within its lead, as long as that helps."""
        turns = [self._led(here + share * self._lead, here) for share in (-1, 1)]
        while self.violation(pose) > 0:
            turned = [
                np.where(np.arange(NUM_JOINTS) == joint, to, pose)
                for to in turns
                for joint in range(NUM_JOINTS)
            ]
            best = min(turned, key=self.violation)
            if self.violation(best) >= self.violation(pose):
                break
            pose = best
        return pose

    def _judge(
        self, floor: float, allowed: float, notes: list[Intervention]
    ) -> Callable[[Array], bool]:
        """Tells whether a pose violates workspace and `floor` by no more than `allowed`."""

        def fits(pose: Array) -> bool:
            posture = self.clearance(pose)
            if self._violation(posture, floor) <= allowed:
                return True
            if posture.clearance < self.limits.floor:
                notes.append(Intervention.FLOOR)
            elif posture.clearance < floor:
                notes.append(Intervention.DESCENT)
            if self._outside(posture) > 0:
                notes.append(Intervention.WORKSPACE)
            return False

        return fits

    def _joint_limits(self) -> tuple[Array, Array]:
        """Where the last command is beyond a limit it may stay, but not go further."""
        return np.minimum(self.lower, self.command), np.maximum(self.upper, self.command)

    def _led(self, pose: Array, here: Array) -> Array:
        lower, upper = self._joint_limits()
        return np.clip(np.clip(pose, here - self._lead, here + self._lead), lower, upper)

    def _violation(self, posture: Posture, floor: float) -> float:
        return max(0.0, floor - float(posture.clearance)) + self._outside(posture)

    def _outside(self, posture: Posture) -> float:
        low, high = self._box
        beyond = np.maximum(low - posture.tcp, posture.tcp - high)
        return float(np.linalg.norm(np.maximum(beyond, 0)))


def _six(values: Any) -> Array | None:
    """A copy of `values` if they are six finite real numbers."""
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return array if array.shape == (NUM_JOINTS,) and np.isfinite(array).all() else None
