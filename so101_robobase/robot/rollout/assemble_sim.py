"""`--robot sim`: a simulated arm in step with the loop, as fast as this machine allows."""

from contextlib import ExitStack
from pathlib import Path

from so101_robobase.arm.alignment import Alignment
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.robot.arm_parts import simulated_arm
from so101_robobase.robot.emulator.schedule import load_schedule
from so101_robobase.robot.rollout.parts import RolloutParts
from so101_robobase.robot.rollout.picture_stream import PromptPictures
from so101_robobase.robot.rollout.policy_camera import SimulatedPolicyCamera
from so101_robobase.robot.rollout.rollout_options import RolloutOptions
from so101_robobase.robot.rollout.workcell import SimulatedWorkcell
from so101_robobase.robot.simulated.body import Body
from so101_robobase.tasks.config import TaskConfig


def assemble(
    options: RolloutOptions,
    config: TaskConfig,
    alignment: Alignment,
    folder: Path,
    resources: ExitStack,
) -> RolloutParts:
    """The parts of a simulated rollout. Raises UserError for faults that it cannot have."""
    body = Body(config)
    faults = load_schedule(options.faults) if options.faults is not None else []
    arm = simulated_arm(body, alignment, faults)
    return RolloutParts(
        arm=arm,
        stream=PromptPictures(SimulatedPolicyCamera(body.sim, body.config, arm.clock)),
        workcell=SimulatedWorkcell(body, options.seed),
        state=lambda: {"cube": body.qpos[NUM_JOINTS:].tolist()},
    )
