"""The parts of a rollout on a real, a simulated and an emulated arm."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from so101_robobase.arm.alignment import Alignment, check_same_arm
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.robot.arm_parts import ArmParts, emulated_arm, real_arm, simulated_arm
from so101_robobase.robot.emulator.schedule import load_schedule
from so101_robobase.robot.person.arm_arguments import REAL, SIM
from so101_robobase.robot.real.wrist_camera import make_camera
from so101_robobase.robot.rollout.picture_stream import (
    BackgroundPictures,
    PictureStream,
    PromptPictures,
)
from so101_robobase.robot.rollout.policy_camera import RealPolicyCamera, SimulatedPolicyCamera
from so101_robobase.robot.rollout.rollout_options import RolloutOptions
from so101_robobase.robot.rollout.workcell import (
    AttendedWorkcell,
    EmulatedWorkcell,
    Mirror,
    SimulatedWorkcell,
    Workcell,
)
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.faulty_camera import CameraFaults, FaultyPolicyCamera
from so101_robobase.tasks.config import TaskConfig

_CUBE = slice(NUM_JOINTS, NUM_JOINTS + 7)  # of qpos: its position m and quaternion
_CAMERA_INTERVAL = 1 / 30  # s, of a usual USB camera


@dataclass(frozen=True)
class RolloutParts:
    """One arm and its surroundings."""

    arm: ArmParts
    stream: PictureStream
    workcell: Workcell
    state: Callable[[], dict[str, Any]]  # what is known of the scene when an episode begins


def assemble(
    options: RolloutOptions,
    config: TaskConfig,
    alignment: Alignment,
    folder: Path,
    resources: ExitStack,
) -> RolloutParts:
    """The parts that `options.robot` names.

    Args:
        folder: for what the arm's helpers write.
        resources: end what is started here.

    Raises:
        UserError: an arm or a camera that is not as it should be, faults that this arm cannot have.
    """
    if options.robot == REAL:
        return _real(options, config, alignment, folder)
    faults = load_schedule(options.faults) if options.faults is not None else []
    if options.robot == SIM:  # in step with the loop, as fast as this machine allows
        body = Body(config)
        arm = simulated_arm(body, alignment, faults)
        return RolloutParts(
            arm=arm,
            stream=PromptPictures(SimulatedPolicyCamera(body.sim, body.config, arm.clock)),
            workcell=SimulatedWorkcell(body, options.seed),
            state=lambda: {"cube": body.qpos[_CUBE].tolist()},
        )
    arm, bus = emulated_arm(config, options.seed, alignment, folder, resources)
    mirror = Mirror(config)
    camera = SimulatedPolicyCamera(
        mirror.sim, mirror.config, arm.clock, partial(mirror.follow, bus)
    )
    faulty = FaultyPolicyCamera(camera, CameraFaults(bus.state))
    return RolloutParts(
        arm=arm,
        stream=BackgroundPictures(faulty, arm.clock, _CAMERA_INTERVAL),
        workcell=EmulatedWorkcell(bus, mirror, options.seed, faults),
        state=lambda: {"cube": bus.state().qpos[_CUBE].tolist()},
    )


def _real(
    options: RolloutOptions, config: TaskConfig, alignment: Alignment, folder: Path
) -> RolloutParts:
    assert options.port  # `rollout_command` sees to all three
    assert options.calibration
    assert options.camera
    if options.alignment is not None:
        check_same_arm(alignment, options.alignment, options.calibration)
    arm = real_arm(options.port, options.calibration, alignment, folder)
    height, width = options.frame_size
    camera = make_camera(options.camera, width, height, options.camera_fps)
    networks = options.segmentation, options.depth, options.device
    return RolloutParts(
        arm=replace(arm, what=f"{arm.what}, camera {options.camera}"),
        stream=BackgroundPictures(RealPolicyCamera(camera, config, *networks), arm.clock),
        workcell=AttendedWorkcell(),
        state=dict,
    )
