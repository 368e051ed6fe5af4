"""`--robot real`: the arm on a serial port and its camera."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from robobase import compute
from so101_robobase.config import LiftConfig
from so101_robobase.perception.frames import parse_frame_size
from so101_robobase.robot.alignment import Alignment
from so101_robobase.robot.arm_loop import Watchdog as WatchdogProtocol
from so101_robobase.robot.clock import RealClock
from so101_robobase.robot.lerobot_camera import LeRobotCamera
from so101_robobase.robot.lerobot_driver import LeRobotDriver
from so101_robobase.robot.monitor import MonitorLimits
from so101_robobase.robot.ports import IDS
from so101_robobase.robot.scenes import PersonsScene
from so101_robobase.robot.session import Parts
from so101_robobase.robot.sight import BackgroundSight, CameraEyes
from so101_robobase.robot.watchdog import Watchdog


def assemble(
    args: argparse.Namespace,
    config: LiftConfig,
    alignment: Alignment,
    folder: Path,
    resources: ExitStack,
) -> Parts:
    """The parts of a rollout on the arm."""
    height, width = parse_frame_size(args.camera_size)
    device = str(compute.pick_device(num_gpus=1)) if args.device == "auto" else args.device
    camera = LeRobotCamera(args.camera, width, height, args.camera_fps)
    eyes = CameraEyes(camera, config, args.segmentation, args.depth, device)
    clock = RealClock()
    return Parts(
        driver=LeRobotDriver(args.port, args.calibration),
        clock=clock,
        sight=BackgroundSight(eyes, clock),
        scene=PersonsScene(),
        start_watchdog=watchdog_of(args.port, folder),
        monitor=MonitorLimits(),
        state=dict,
        frame_size=(height, width),
        what=f"SO-101 at {args.port}, camera {args.camera}",
    )


def watchdog_of(port: str, folder: Path) -> Callable[[], WatchdogProtocol]:
    """Starts the process that turns torque off at `port` if this one dies."""
    return lambda: Watchdog(port, IDS, log=folder / "watchdog.log")
