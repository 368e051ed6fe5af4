"""`--robot real`: the arm on a serial port and its camera."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from robobase.errors import UserError
from so101_robobase.alignment import Alignment
from so101_robobase.config import LiftConfig
from so101_robobase.perception.frames import parse_frame_size
from so101_robobase.robot import arm_loop, extras
from so101_robobase.robot.clock import RealClock
from so101_robobase.robot.real import ports
from so101_robobase.robot.real.lerobot_camera import LeRobotCamera
from so101_robobase.robot.real.lerobot_driver import LeRobotDriver
from so101_robobase.robot.rollout.scenes import PersonsScene
from so101_robobase.robot.rollout.session import Parts
from so101_robobase.robot.rollout.sight import BackgroundSight, CameraEyes
from so101_robobase.robot.safety.watchdog import Watchdog


def assemble(
    args: argparse.Namespace,
    config: LiftConfig,
    alignment: Alignment,
    folder: Path,
    resources: ExitStack,
) -> Parts:
    """The parts of a rollout on the arm."""
    extras.require("lerobot")
    driver = LeRobotDriver(args.port, args.calibration)
    height, width = parse_frame_size(args.camera_size)
    camera = LeRobotCamera(args.camera, width, height, args.camera_fps)
    eyes = CameraEyes(camera, config, args.segmentation, args.depth, args.device)
    _check_arm(args, driver, alignment)
    clock = RealClock()
    return Parts(
        driver=driver,
        clock=clock,
        sight=BackgroundSight(eyes, clock),
        scene=PersonsScene(),
        start_watchdog=watchdog_of(args.port, folder),
        alignment=alignment,
        state=dict,
        what=f"SO-101 at {args.port}, camera {args.camera}",
    )


def watchdog_of(port: str, folder: Path) -> Callable[[], arm_loop.Watchdog]:
    """Starts the process that turns torque off at `port` if this one dies; or raises UserError."""

    def start() -> arm_loop.Watchdog:
        try:
            return Watchdog(port, ports.IDS, log=folder / "watchdog.log")
        except (OSError, RuntimeError) as error:
            raise UserError(f"the arm cannot be watched over: {error}") from error

    return start


def _check_arm(args: argparse.Namespace, driver: LeRobotDriver, alignment: Alignment) -> None:
    """Whether port, servos and files belong together; now, before networks are loaded."""
    try:
        driver.bus.open()
        driver.check_servos()
    finally:
        driver.close()
    arm = args.calibration.stem
    if alignment.arm not in ("", arm):
        raise UserError(
            f"alignment {args.alignment} was measured on the arm {alignment.arm}, calibration "
            f"{args.calibration} is of {arm}; give the files of one arm"
        )
