"""`so101_robobase robot align joints`: joint zeros, directions and the gripper's ends."""

import argparse
from pathlib import Path

from robobase.errors import UserError
from so101_robobase.base.arguments import add_input
from so101_robobase.robot.person.arm_arguments import add_arm

EXAMPLE = (
    "so101_robobase robot align joints --port /dev/ttyACM0 --calibration "
    "calibration.json --output my_arm.yaml"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="alignment file; what it holds of camera and servos stays",
    )
    add_arm(parser)
    add_input(
        parser,
        "--readings",
        "readings.yaml that an earlier run wrote",
        "servo units by pose, as an earlier run wrote them, in place of an arm",
    )
    parser.add_argument(
        "--poses",
        type=Path,
        default=Path("align_poses"),
        metavar="FOLDER",
        help="for pictures of the poses and the readings (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Asks for the poses, reads the servos, fits and writes the alignment."""
    if args.readings is None and (args.port is None or args.calibration is None):
        raise UserError("give --port and --calibration of the arm, or --readings of a file")
    from dataclasses import replace

    from so101_robobase.arm import alignment as alignments
    from so101_robobase.base.files import checked_output
    from so101_robobase.robot.align.joint_fit import (
        draw_poses,
        fit_joints,
        load_readings,
        measure,
        save_readings,
    )
    from so101_robobase.sim.gl_context import GLUnavailableError
    from so101_robobase.sim.scene import build_scene

    args.output = checked_output(args.output, own=False)
    present = alignments.load(args.output) if args.output.exists() else None
    if args.readings is not None:
        servo = load_readings(args.readings)
    else:
        if present is not None:
            alignments.check_same_arm(present, args.output, args.calibration)
        try:
            pictures = draw_poses(build_scene(), args.poses)
            print("compare with", *pictures, sep="\n  ")
        except GLUnavailableError as error:
            print(f"no pictures of the poses: {error}")
        from so101_robobase.robot.real.lerobot_driver import LeRobotDriver

        driver = LeRobotDriver(args.port, args.calibration)
        try:
            driver.bus.open()
            driver.check_servos()
            print("Hold the arm: torque goes off now.")
            servo = measure(driver, input)
        finally:
            driver.close()
        save_readings(servo, args.poses / "readings.yaml")
    fit = fit_joints(servo, present=present)
    print(fit.table())
    alignment = fit.alignment
    if args.readings is None:
        alignment = replace(alignment, arm=args.calibration.stem)
    alignments.save(alignment, args.output)
    print(f"written to {args.output}")
    return 0
