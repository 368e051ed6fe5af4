"""`--robot real`: the arm on a serial port and its camera."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from so101_robobase.arm.alignment import Alignment, check_same_arm
from so101_robobase.robot.arm_parts import real_arm
from so101_robobase.robot.real.wrist_camera import make_camera
from so101_robobase.robot.rollout.parts import RolloutParts
from so101_robobase.robot.rollout.picture_stream import BackgroundPictures
from so101_robobase.robot.rollout.policy_camera import RealPolicyCamera
from so101_robobase.robot.rollout.rollout_options import RolloutOptions
from so101_robobase.robot.rollout.workcell import AttendedWorkcell
from so101_robobase.tasks.config import TaskConfig


def assemble(
    options: RolloutOptions,
    config: TaskConfig,
    alignment: Alignment,
    folder: Path,
    resources: ExitStack,
) -> RolloutParts:
    """The parts of a rollout on the arm, which has port, calibration and camera."""
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
