"""`so101_robobase robot emulator`: a simulated SO-101 on a serial port, for LeRobot's tools."""

import argparse
from pathlib import Path

from so101_robobase.base.arguments import MOST_SEED, add_input, add_number, add_seed
from so101_robobase.robot.emulator import hand_command

EXAMPLE = (
    "so101_robobase robot emulator --link /tmp/so101 --calibration_dir calibration --id emulated"
)

LINK = "/tmp/so101"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments, and the one command that it has."""
    commands = parser.add_subparsers(dest="emulator_command", metavar="hand", required=False)
    what = "Move the joints of an emulator that runs, where they have no torque."
    hand_command.configure(commands.add_parser("hand", help=what, description=what), LINK)
    parser.add_argument(
        "--link", type=Path, default=Path(LINK), help="path of the port (default: %(default)s)"
    )
    add_input(parser, "--faults", "YAML with a list of faults", metavar="YAML")
    add_seed(parser, "start state of arm and cube")
    add_number(parser, "--arm", 0, MOST_SEED, "which arm: others are calibrated otherwise", 0)
    calibration = parser.add_argument_group("calibration")
    calibration.add_argument(
        "--calibration_dir", type=Path, help="write LeRobot's file of this arm into this folder"
    )
    calibration.add_argument(
        "--id", default="emulated", help="LeRobot's name of this arm (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Starts the emulator, says how to use it, and shows how it is until Ctrl-C."""
    if args.emulator_command == "hand":
        return hand_command.run(args)
    from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
    from so101_robobase.robot.emulator.emulator_session import run_session
    from so101_robobase.robot.emulator.schedule import load_schedule

    faults = load_schedule(args.faults) if args.faults else []
    config = EmulatorConfig(seed=args.seed, arm=args.arm, faults=faults)
    run_session(config, args.link, args.id, args.calibration_dir)
    return 0
