"""The worst policies on the simulated arm: what reaches the servos, and where the arm goes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from so101_robobase.arm.clearance import Clearance
from so101_robobase.arm.control import CONTROL_PERIOD, ControlConfig, make_controller
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.robot.safety.filter import Intervention, SafetyFilter, SafetyLimits
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.tasks.lift.config import LiftConfig

Give = Callable[[int, np.random.Generator], np.ndarray]

JOINT_TARGETS = "joint targets"
WAYS = (JOINT_TARGETS, "joint_delta", "cartesian_delta")
"""How a policy's numbers become targets: directly, or through one of the controllers."""

_DWELL = 40  # ticks for which a slow policy insists
_UNHEARD_OF = (1e-300, 1e6, 1e300, -1e300, np.nan, np.inf, -np.inf)


@dataclass
class StressFindings:
    """What happened in `ticks` control ticks; angles in rad, lengths in m.

    Excesses are beyond a limit: at most 0 where it held.
    """

    ticks: int = 0
    interventions: Counter[str] = field(default_factory=Counter)  # ticks with each
    not_finite: int = 0  # commands
    joint_limit_excess: float = -np.inf
    step_excess: float = -np.inf  # where the last command was within the lead
    lead_excess: float = -np.inf  # where the measured joints were within their limits
    violation: float = 0.0  # of workspace and floor, by commands
    lowest_command: float = np.inf  # clearance
    lowest: float = np.inf  # clearance of the true pose
    low_ticks: int = 0  # with the true pose more than 1 mm below the table


def policies(action_dim: int) -> dict[str, Give]:
    """Name -> numbers (action_dim,) at a tick; those of size 1 mean a controller's full action."""
    ends = np.array([-1.0, 1.0])

    def random(tick: int, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-1, 1, action_dim)

    def insistent(tick: int, rng: np.random.Generator) -> np.ndarray:
        corner = np.random.default_rng(tick // _DWELL).choice(ends, action_dim)
        return corner

    def alternating(tick: int, rng: np.random.Generator) -> np.ndarray:
        sign = 1.0 if tick // (1 + tick // 500 % 8) % 2 else -1.0  # every 1 to 8 ticks
        return sign * np.random.default_rng(tick // 250).choice(ends, action_dim)

    def mad(tick: int, rng: np.random.Generator) -> np.ndarray:
        numbers = insistent(tick, rng) * rng.choice([1e-9, 1.0, 100.0], action_dim)
        spoilt = rng.random(action_dim) < 0.02
        return np.where(spoilt, rng.choice(_UNHEARD_OF, action_dim), numbers)

    return {"random": random, "insistent": insistent, "alternating": alternating, "mad": mad}


POLICIES = (*policies(NUM_JOINTS), "down")
"""Names: `policies`, and always the way that lowers the arm most."""


def stress(
    policy: str, way: str, ticks: int, seed: int = 0, limits: SafetyLimits | None = None
) -> StressFindings:
    """Let `policy` (of `POLICIES`) drive the simulated arm in a `way` (of `WAYS`)."""
    control = ControlConfig(mode="joint_delta" if way == JOINT_TARGETS else way)
    body = Body(LiftConfig(stage=0, control=control))
    driver = SimulatedDriver(body)
    joint_range = body.sim.scene.model.actuator_ctrlrange.copy()
    clearance = Clearance(body.sim.scene.model)
    safety = SafetyFilter(limits or SafetyLimits(), joint_range, clearance)
    controller = make_controller(control, body.sim.kinematics, safety.joint_range, 1, clearance)
    action_dim = NUM_JOINTS if way == JOINT_TARGETS else controller.action_dim
    give = policies(action_dim).get(policy)
    rng = np.random.default_rng(seed)
    findings = StressFindings()

    body.begin(seed)
    driver.connect()
    safety.reset(driver.units.to_model(driver.read().position))
    controller.reset(safety.command[None])
    for tick in range(ticks):
        measured = driver.units.to_model(driver.read().position)
        if give is None:
            numbers = _downwards(safety.command, clearance) if way != "cartesian_delta" else _SINK
        else:
            numbers = give(tick, rng)
        if way == JOINT_TARGETS:
            middle, half = joint_range.mean(axis=1), np.ptp(joint_range, axis=1) / 2
            with np.errstate(over="ignore"):
                target = middle + half * numbers
        else:
            target = controller(numbers[None], measured[None])[0]
        before = safety.command.copy()
        decision = safety.filter(target, measured)
        _check(findings, decision.command, before, measured, safety, clearance)
        findings.interventions.update(str(reason) for reason in decision.interventions)
        if Intervention.TARGET in decision.interventions:
            controller.reset(decision.command[None])
        else:
            controller.target[0] = decision.command
        driver.write(driver.units.to_servo(decision.command))
        driver.clock.wait_until((tick + 1) * CONTROL_PERIOD)
        height = float(clearance(body.joint_pos).clearance)
        findings.lowest = min(findings.lowest, height)
        findings.low_ticks += height < -0.001
        findings.ticks += 1
    return findings


_SINK = np.array([0.3, 0.0, -1.0, -1.0])  # forward and down, gripper closed


def _downwards(pose: np.ndarray, clearance: Clearance) -> np.ndarray:
    """Signs (6,) that lower the arm: its lowest point, and its gripper while that is the base's."""
    nudges = 1e-3 * np.eye(NUM_JOINTS)
    posture = clearance(np.concatenate([pose + nudges, pose - nudges]))
    heights = posture.clearance + posture.tcp[:, 2]
    return -np.sign(heights[:NUM_JOINTS] - heights[NUM_JOINTS:])


def _check(
    findings: StressFindings,
    command: np.ndarray,
    before: np.ndarray,
    measured: np.ndarray,
    safety: SafetyFilter,
    clearance: Clearance,
) -> None:
    limits = safety.limits
    if not np.isfinite(command).all():
        findings.not_finite += 1
        return
    lower, upper = safety.joint_range.T
    findings.joint_limit_excess = max(
        findings.joint_limit_excess, float(np.maximum(lower - command, command - upper).max())
    )
    lead = np.array(limits.max_lead)
    if (np.abs(before - measured) <= lead).all():
        step = np.abs(command - before) - limits.max_step
        findings.step_excess = max(findings.step_excess, float(step.max()))
    inside = (lower <= measured).all() and (measured <= upper).all()
    if inside:
        excess = np.abs(command - measured) - lead
        findings.lead_excess = max(findings.lead_excess, float(excess.max()))
    findings.violation = max(findings.violation, safety.violation(command))
    height = float(clearance(command).clearance)
    findings.lowest_command = min(findings.lowest_command, height)
