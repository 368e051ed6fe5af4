"""`--robot real`: the arm on a serial port and its camera."""

import argparse
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from so101_robobase.arm.alignment import Alignment, check_same_arm
from so101_robobase.base.arguments import parse_frame_size
from so101_robobase.robot.arm_parts import real_arm
from so101_robobase.robot.real.wrist_camera import make_camera
from so101_robobase.robot.rollout.parts import RolloutParts
from so101_robobase.robot.rollout.picture_stream import BackgroundPictures
from so101_robobase.robot.rollout.policy_camera import RealPolicyCamera
from so101_robobase.robot.rollout.workcell import AttendedWorkcell
from so101_robobase.tasks.lift.config import LiftConfig


def assemble(
    args: argparse.Namespace,
    config: LiftConfig,
    alignment: Alignment,
    folder: Path,
    resources: ExitStack,
) -> RolloutParts:
    """The parts of a rollout on the arm."""
    if args.alignment is not None:
        check_same_arm(alignment, args.alignment, args.calibration)
    arm = real_arm(args.port, args.calibration, alignment, folder)
    height, width = parse_frame_size(args.camera_size)
    camera = make_camera(args.camera, width, height, args.camera_fps)
    policy_camera = RealPolicyCamera(camera, config, args.segmentation, args.depth, args.device)
    return RolloutParts(
        arm=replace(arm, what=f"{arm.what}, camera {args.camera}"),
        stream=BackgroundPictures(policy_camera, arm.clock),
        workcell=AttendedWorkcell(),
        state=dict,
    )
