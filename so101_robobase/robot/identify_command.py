"""`so101_robobase robot identify`: fits the model's servos to recordings of an arm."""

import argparse
from pathlib import Path

from so101_robobase.joints import JOINTS


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "recordings",
        type=Path,
        nargs="+",
        help="files or folders of .npz that `robot rollout` wrote, or LeRobotDatasets; at least "
        "two episodes in free air",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="alignment file; what it holds beside the servos stays",
    )
    parser.add_argument(
        "--held_out",
        type=int,
        help="how many episodes, from the last, only judge the result (default: a quarter)",
    )
    search = parser.add_argument_group("search")
    search.add_argument(
        "--population", type=int, default=32, help="arms at once (default: %(default)s)"
    )
    search.add_argument(
        "--generations", type=int, default=45, help="of the search (default: %(default)s)"
    )
    search.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    search.add_argument("--num_threads", type=int, default=0, help="0: all cores (default)")


def run(args: argparse.Namespace) -> int:
    """Fits, prints the error before and after, and writes the alignment."""
    from dataclasses import replace

    from tqdm import tqdm

    from robobase.errors import UserError
    from so101_robobase.robot import alignment as alignments
    from so101_robobase.robot.alignment import Alignment, Units
    from so101_robobase.robot.episode_log import read
    from so101_robobase.robot.identify import identify
    from so101_robobase.sim.scene import build_scene

    if args.generations < 6:
        raise UserError(f"--generations {args.generations} is too small; give 6 or more")
    alignment = alignments.load(args.output) if args.output.exists() else Alignment()
    scene = build_scene()
    units = Units(alignment, scene.model.actuator_ctrlrange)
    logs = [log for path in args.recordings for log in read(path, units)]
    held_out = max(1, len(logs) // 4) if args.held_out is None else args.held_out
    if not 1 <= held_out < len(logs):
        raise UserError(
            f"{len(logs)} episodes, of which {held_out} only judge: both must be left with one or "
            "more; give more recordings or another --held_out"
        )
    second = args.generations // 3
    result = identify(
        scene,
        logs[:-held_out],
        logs[-held_out:],
        args.population,
        (args.generations - second, second),
        args.seed,
        args.num_threads,
        lambda rounds: tqdm(rounds, desc="identify", unit="generation"),
    )
    servos = result.servos
    print(f"fitted to {len(logs) - held_out} episodes, judged on {held_out} others")
    print(f"\nbefore\n{result.before.table()}\n\nafter\n{result.after.table()}\n")
    print(f"{'factors':<14}{'stiffness':>11}{'damping':>11}{'joint damp.':>13}{'friction':>11}")
    for joint, *values in zip(
        JOINTS,
        servos.stiffness,
        servos.damping,
        servos.joint_damping,
        servos.joint_friction,
        strict=True,
    ):
        print(f"{joint:<14}{values[0]:11.3f}{values[1]:11.3f}{values[2]:13.3f}{values[3]:11.3f}")
    print(f"latency {1e3 * servos.latency:.0f} ms")
    if result.after.overall >= result.before.overall:
        raise UserError(
            "the fitted servos follow the held-out recordings no better than the model's own; "
            "nothing was written: record more, in free air, with every joint moving"
        )
    alignments.save(replace(alignment, servos=servos), args.output)
    print(f"written to {args.output}; train with env.scene.alignment={args.output}")
    return 0
