"""`so101_robobase robot identify`: fits the model's servos to recordings of an arm."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robobase.errors import UserError
from so101_robobase.arm.joints import JOINTS
from so101_robobase.base.arguments import add_input, add_number, add_seed, options
from so101_robobase.robot.person.arm_arguments import EMULATED, REAL, SIM, add_arm, add_on_stop

if TYPE_CHECKING:
    from so101_robobase.arm.alignment import Alignment


EXAMPLE = (
    "so101_robobase robot identify --port /dev/ttyACM0 --calibration "
    "calibration.json --record excitations --output my_arm.yaml"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    what = "files or folders of .npz that `robot rollout` or --record wrote, or LeRobotDatasets"
    add_input(parser, "recordings", what, f"{what}; at least two episodes in free air", nargs="*")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="alignment file; what it holds beside the servos stays, and is what --record reads "
        "the arm with",
    )
    recording = parser.add_argument_group("recording")
    recording.add_argument(
        "--record",
        type=Path,
        metavar="FOLDER",
        help="move the arm through excitations in free air first, and fit to these as well",
    )
    recording.add_argument(
        "--robot",
        choices=(REAL, SIM, EMULATED),
        default=REAL,
        help="real; to try it, sim or emulated: MuJoCo with the servos that --output holds "
        "(default: %(default)s)",
    )
    add_arm(recording)
    add_number(recording, "--num_episodes", 1, 1000, default=6)
    add_number(recording, "--duration", 4, 600, "of an episode, s", 20.0, type=float)
    add_on_stop(recording)
    recording.add_argument("--yes", action="store_true", help="begin without asking")
    recording.add_argument("--no_fit", action="store_true", help="record and leave it at that")
    judges = "how many episodes, from the last, only judge the result (default: a quarter)"
    add_number(parser, "--held_out", 1, 1000, judges)
    search = parser.add_argument_group("search")
    add_number(search, "--population", 2, 10_000, "arms at once", 32)
    add_number(search, "--generations", 6, 100_000, "of the search", 45)
    add_seed(search, "of search and excitations")
    add_number(search, "--num_threads", 0, 1024, "0: all cores", 0)


def run(args: argparse.Namespace) -> int:
    """Records if asked to, fits, prints the error before and after, and writes the alignment."""
    if not args.recordings and args.record is None:
        raise UserError("give recordings to fit to, or --record FOLDER to make some")
    if args.no_fit and args.record is None:
        raise UserError("--no_fit needs --record FOLDER: there is nothing else to do")
    if args.record is not None:
        _check_recording(args)
    from so101_robobase.base.files import checked_output

    args.output = checked_output(args.output, own=False)
    from so101_robobase.arm import alignment as alignments
    from so101_robobase.arm.alignment import Alignment

    alignment = alignments.load(args.output) if args.output.exists() else Alignment()
    recordings = list(args.recordings)
    if args.record is not None:
        from so101_robobase.robot.identify.excite_session import RecordOptions, record

        if not record(options(RecordOptions, args), alignment):
            return 1
        if args.no_fit:
            return 0
        recordings.append(args.record)
    _fit(args, recordings, alignment)
    return 0


def _check_recording(args: argparse.Namespace) -> None:
    if args.robot == REAL and (args.port is None or args.calibration is None):
        raise UserError(
            "--record needs --port and --calibration of the arm; to try without an arm use "
            "--robot sim or --robot emulated"
        )
    if any(args.record.glob("*.npz")):
        raise UserError(f"{args.record} holds recordings already; name another folder to --record")


def _fit(args: argparse.Namespace, recordings: Sequence[Path], alignment: Alignment) -> None:
    from dataclasses import replace

    from tqdm import tqdm

    from so101_robobase.arm import alignment as alignments
    from so101_robobase.arm.alignment import Units
    from so101_robobase.robot.identify.fit import identify
    from so101_robobase.robot.recording.episode_log import read
    from so101_robobase.sim.scene import build_scene

    scene = build_scene()
    units = Units(alignment, scene.model.actuator_ctrlrange)
    logs = [log for path in recordings for log in read(path, units)]
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
