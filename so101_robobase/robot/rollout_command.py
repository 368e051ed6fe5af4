"""`so101_robobase robot rollout <snapshot>`: run a policy on an arm."""

import argparse
from pathlib import Path

REAL, SIM, EMULATED = "real", "sim", "emulated"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "snapshot", type=Path, help="a *_snapshot.pt that `python -m robobase.train` wrote"
    )
    arm = parser.add_argument_group("arm")
    arm.add_argument(
        "--robot",
        choices=(REAL, SIM, EMULATED),
        default=REAL,
        help="real; sim: MuJoCo in step with the loop; emulated: MuJoCo behind servos that speak "
        "the real protocol, in real time (default: %(default)s)",
    )
    arm.add_argument("--port", help="serial port of the arm, such as /dev/ttyACM0")
    arm.add_argument(
        "--calibration", type=Path, help="LeRobot's calibration file of this arm (JSON)"
    )
    arm.add_argument(
        "--alignment", type=Path, help="what `so101_robobase robot align` measured (YAML)"
    )
    sight = parser.add_argument_group("sight")
    sight.add_argument("--camera", help="index or path of the wrist camera, such as 0")
    sight.add_argument("--camera_size", default="640x480", help="default: %(default)s")
    sight.add_argument("--camera_fps", type=int, default=30, help="default: %(default)s")
    sight.add_argument("--segmentation", help="checkpoint of `so101_robobase segmentation train`")
    sight.add_argument("--depth", help="name or folder of a depth network")
    sight.add_argument("--device", default="auto", help="of all networks (default: %(default)s)")
    run = parser.add_argument_group("run")
    run.add_argument("--num_episodes", type=int, default=1, help="default: %(default)s")
    run.add_argument(
        "--episode_time_s", type=float, help="default: the length of episodes in training"
    )
    run.add_argument(
        "--action_scale",
        type=float,
        default=1.0,
        help="the policy's actions times this, for careful first runs (default: %(default)s)",
    )
    run.add_argument(
        "--dry_run",
        action="store_true",
        help="everything but sending: torque stays off, move the arm by hand",
    )
    run.add_argument("--step", action="store_true", help="one action per press of n")
    run.add_argument(
        "--on_stop",
        choices=("release", "hold"),
        default="release",
        help="the arm after Esc, Ctrl-C or a fault: torque off, or on where it is "
        "(default: %(default)s)",
    )
    run.add_argument("--seed", type=int, default=2_000_000, help="of simulated cubes")
    run.add_argument(
        "--overrides",
        nargs="+",
        default=[],
        metavar="key=value",
        help="changes to the snapshot's config, as of `evaluate`",
    )
    run.add_argument(
        "--trust",
        nargs="+",
        default=[],
        metavar="package",
        help="packages beside this project's whose classes the snapshot's config may name",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output_dir", type=Path, help="default: <run>/rollouts/<date and time>")
    output.add_argument("--record", type=Path, help="folder of a LeRobotDataset to add episodes to")
    output.add_argument(
        "--display",
        nargs="?",
        const="viewer",
        metavar="file.rrd",
        help="show everything in Rerun, or write it to a file",
    )
    output.add_argument("--yes", action="store_true", help="begin without asking")


def run(args: argparse.Namespace) -> int:
    """Runs the rollout; 0 when it came to its end, 1 when it was cut short."""
    from so101_robobase.robot.session import run_rollout

    return run_rollout(args)
