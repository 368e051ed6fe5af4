"""`--robot real`: the arm on a serial port and its camera."""

import argparse
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from so101_robobase.arm.alignment import Alignment, check_same_arm
from so101_robobase.base.arguments import parse_frame_size
from so101_robobase.robot.arms import real_arm
from so101_robobase.robot.cameras import make_camera
from so101_robobase.robot.rollout.parts import Parts
from so101_robobase.robot.rollout.scenes import PersonsScene
from so101_robobase.robot.rollout.sight import BackgroundSight, CameraEyes
from so101_robobase.tasks.config import TaskConfig


def assemble(
    args: argparse.Namespace,
    config: TaskConfig,
    alignment: Alignment,
    folder: Path,
    resources: ExitStack,
) -> Parts:
    """The parts of a rollout on the arm."""
    if args.alignment is not None:
        check_same_arm(alignment, args.alignment, args.calibration)
    arm = real_arm(args.port, args.calibration, alignment, folder)
    height, width = parse_frame_size(args.camera_size)
    camera = make_camera(args.camera, width, height, args.camera_fps)
    eyes = CameraEyes(camera, config, args.segmentation, args.depth, args.device)
    return Parts(
        arm=replace(arm, what=f"{arm.what}, camera {args.camera}"),
        sight=BackgroundSight(eyes, arm.clock),
        scene=PersonsScene(),
        state=dict,
    )
