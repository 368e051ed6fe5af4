"""`so101_robobase robot replay`: a recorded episode in simulation, and the tracking error."""

import argparse
from pathlib import Path

from so101_robobase.base.arguments import ALIGNMENT, add_input, add_number

EXAMPLE = "so101_robobase robot replay data/lift --episode 3"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_input(parser, "recording", "an .npz of `robot rollout`, or the folder of a LeRobotDataset")
    add_number(parser, "--episode", 0, 10**7, "of a dataset or folder", 0)
    whose = "whose servos to simulate, and the units of a dataset (default: the recording's own)"
    add_input(parser, "--alignment", ALIGNMENT, whose)
    parser.add_argument(
        "--output", type=Path, help="curves (default: runs/replay/<date and time>.png)"
    )


def run(args: argparse.Namespace) -> int:
    """Replays, prints the error per joint and draws the curves."""
    from robobase.errors import UserError
    from so101_robobase.arm import alignment as alignments
    from so101_robobase.arm.alignment import Alignment, Units
    from so101_robobase.base.files import RUNS, checked_output, timed
    from so101_robobase.robot.identify.replay import draw_curves, replay, tracking_error
    from so101_robobase.robot.recording.episode_log import read
    from so101_robobase.sim.scene import build_scene

    output = checked_output(args.output or timed(RUNS / "replay").with_suffix(".png"), [".png"])
    alignment = alignments.load(args.alignment) if args.alignment else None
    units = Units(alignment or Alignment(), build_scene().model.actuator_ctrlrange)
    logs = read(args.recording, units)
    if not 0 <= args.episode < len(logs):
        raise UserError(
            f"--episode {args.episode}: {args.recording} has episodes 0 to {len(logs) - 1}"
        )
    log = logs[args.episode]
    simulated = replay(log, alignment)
    print(f"{len(log)} ticks in {log.duration:.2f} s; simulated against measured positions:")
    print(tracking_error(log, simulated).table())
    draw_curves(log, simulated, output)
    print(f"curves: {args.output or output}")
    return 0
