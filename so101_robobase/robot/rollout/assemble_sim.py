"""`--robot sim`: a simulated arm in step with the loop, as fast as this machine allows."""

import argparse
from contextlib import ExitStack
from pathlib import Path

from so101_robobase.arm.alignment import Alignment
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.robot.arms import simulated_arm
from so101_robobase.robot.emulator.schedule import load_schedule
from so101_robobase.robot.rollout.parts import Parts
from so101_robobase.robot.rollout.scenes import BodyScene
from so101_robobase.robot.rollout.sight import PromptSight, SimulatedEyes
from so101_robobase.robot.simulated.body import Body
from so101_robobase.tasks.config import TaskConfig


def assemble(
    args: argparse.Namespace,
    config: TaskConfig,
    alignment: Alignment,
    folder: Path,
    resources: ExitStack,
) -> Parts:
    """The parts of a simulated rollout. Raises UserError for faults that it cannot have."""
    body = Body(config)
    faults = load_schedule(args.faults) if args.faults is not None else []
    arm = simulated_arm(body, alignment, faults)
    return Parts(
        arm=arm,
        sight=PromptSight(SimulatedEyes(body.sim, body.config, arm.clock)),
        scene=BodyScene(body, args.seed),
        state=lambda: {"cube": body.qpos[NUM_JOINTS:].tolist()},
    )
