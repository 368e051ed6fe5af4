"""`so101_robobase robot check`: whether arm and camera are ready, line by line."""

import argparse
from collections.abc import Callable

from so101_robobase.base.arguments import ALIGNMENT, add_input
from so101_robobase.robot.person.arm_arguments import add_calibration, add_camera, add_port

EXAMPLE = "so101_robobase robot check --port /dev/ttyACM0 --calibration calibration.json --camera 0"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_port(parser)
    calibration = parser.add_mutually_exclusive_group()
    add_calibration(calibration)
    calibration.add_argument("--id", help="LeRobot's id of this arm, whose file is in its folder")
    measured = "what `so101_robobase robot align` measured (YAML)"
    add_input(parser, "--alignment", ALIGNMENT, measured)
    parser.add_argument(
        "--no_directions",
        action="store_true",
        help="do not ask to move the joints by hand; nobody is asked without a terminal either",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="first write the factory's values into registers of servos that keep what they must "
        "not; torque goes off",
    )
    add_camera(parser.add_argument_group("camera"))


def run(args: argparse.Namespace) -> int:
    """Prints a line per part; 0 when all are well, 1 otherwise."""
    from robobase.errors import UserError

    if args.port is None and args.camera is None:
        from so101_robobase.robot.real import ports

        found = ", ".join(ports.available()) or "none"
        raise UserError(f"give --port, --camera or both; serial ports here: {found}")
    if args.repair and args.port is None:
        raise UserError("--repair writes into servos: give the arm's --port")
    from so101_robobase.robot.align.directions import Item

    problems = 0

    def report(item: Item) -> bool:
        nonlocal problems
        problems += not item.ok
        print(f"{'OK  ' if item.ok else 'FAIL'} {item.name}: {item.text}", flush=True)
        return item.ok

    if args.port is not None:
        _check_arm(args, report)
    if args.camera is not None:
        from so101_robobase.base.arguments import parse_frame_size
        from so101_robobase.robot.real.check import check_camera
        from so101_robobase.robot.real.wrist_camera import make_camera

        height, width = parse_frame_size(args.camera_size)
        report(check_camera(make_camera(args.camera, width, height, args.camera_fps)))
    return 1 if problems else 0


def _check_arm(args: argparse.Namespace, report: Callable[..., bool]) -> None:
    from so101_robobase.arm import alignment as alignments
    from so101_robobase.arm.alignment import Alignment, Units
    from so101_robobase.robot.person.keys import has_keys
    from so101_robobase.robot.person.terminal import Terminal
    from so101_robobase.robot.real.check import check_arm, check_port, repair_settings
    from so101_robobase.sim.scene import build_scene

    alignment = alignments.load(args.alignment) if args.alignment else Alignment()
    calibration = args.calibration
    if args.id is not None:
        from so101_robobase.robot.real.lerobot_calibration import default_folder

        calibration = default_folder() / f"{args.id}.json"
    if not report(check_port(args.port)):
        return
    units = Units(alignment, build_scene().model.actuator_ctrlrange)
    if args.repair:
        for item in repair_settings(args.port):
            report(item)
    person = Terminal() if has_keys() and not args.no_directions else None
    for item in check_arm(args.port, calibration, units, person):
        report(item)
