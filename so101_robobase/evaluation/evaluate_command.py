"""`so101_robobase evaluate <snapshot>`: success over many episodes, a report, and videos."""

import argparse
from pathlib import Path

from robobase.errors import UserError
from so101_robobase.base.arguments import SNAPSHOT, Device, Input, Number, Seed, add_trust

EXAMPLE = (
    "so101_robobase evaluate runs/so101_lift/2026-11-30_20-00-00 --num_episodes 100 --num_videos 4"
)

DEFAULT_CAMERAS = ("topdown", "side", "front", "iso")
# Far from eval_seed of training: by those episodes the best snapshot was chosen, so its success on
# them is too high an estimate.
DEFAULT_SEED = 2_000_000
DEFAULT_EPISODES = 100
# Figures that are to be published: no training, no choice of a snapshot, seed or setting may use
# these, else the next ones need another range.
FINAL_SEED = 10_000_000
FINAL_EPISODES = 1_000
SUITES = ("robustness",)
_NOT_OF_SUITES = (
    "final",
    "stage",
    "reward_version",
    "seed",
    "num_videos",
    "no_video",
    "cameras",
    "frame_size",
    "full_meshes",
    "debug",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "snapshot", action=Input, what=SNAPSHOT, help=f"{SNAPSHOT}, whose latest is meant"
    )
    episodes = parser.add_argument_group("episodes")
    episodes.add_argument(
        "--num_episodes",
        type=int,
        action=Number,
        least=1,
        most=10**6,
        help=f"default: {DEFAULT_EPISODES}, {FINAL_EPISODES} --final, 64 for each condition of a "
        "suite",
    )
    episodes.add_argument(
        "--final",
        action="store_true",
        help=f"for a figure to publish: {FINAL_EPISODES} episodes from seed {FINAL_SEED}, by "
        "which nothing may be chosen",
    )
    episodes.add_argument(
        "--stage",
        type=int,
        action=Number,
        least=0,
        most=4,
        help="start states, 0 to 4 (default: as trained)",
    )
    episodes.add_argument("--reward_version", help="v1 to v20 (default: as trained)")
    episodes.add_argument(
        "--overrides",
        nargs="+",
        default=[],
        metavar="key=value",
        help="changes to the snapshot's config, as in training: env.lift_height=0.1",
    )
    episodes.add_argument(
        "--seed",
        type=int,
        action=Seed,
        help=f"episode k starts from seed + k (default: {DEFAULT_SEED})",
    )
    episodes.add_argument(
        "--num_envs",
        type=int,
        action=Number,
        least=1,
        most=4096,
        help="simulations at once (default: at most 16, evenly filled)",
    )
    episodes.add_argument(
        "--device",
        action=Device,
        default="auto",
        help="auto, cpu, cuda, cuda:1 ... (default: %(default)s)",
    )
    episodes.add_argument(
        "--suite",
        choices=SUITES,
        help="robustness: success over the cube's place, size, mass and friction, delays, joint "
        "zeros, servo gains, camera and wrong ids, then all at once; by itself resumable",
    )
    add_trust(episodes)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output_dir",
        type=Path,
        help="default: <run>/evaluation/<date and time>; runs/<name>/... for a snapshot that is in "
        "no run folder",
    )
    output.add_argument(
        "--num_videos",
        type=int,
        action=Number,
        least=0,
        most=1000,
        default=4,
        help="default: %(default)s",
    )
    output.add_argument("--no_video", action="store_true", help="write no videos")
    output.add_argument(
        "--cameras",
        nargs="+",
        default=list(DEFAULT_CAMERAS),
        metavar="name",
        help="topdown, side, front, iso, wrist_cam; four make a 2x2 grid (default: %(default)s)",
    )
    output.add_argument(
        "--frame_size",
        type=int,
        action=Number,
        least=32,
        most=1280,
        default=256,
        help="pixels per camera (default: %(default)s)",
    )
    output.add_argument(
        "--full_meshes",
        action="store_true",
        help="draw every triangle of the arm: finer videos, many times slower",
    )
    output.add_argument(
        "--debug",
        action="store_true",
        help="also print a line per episode and write a CSV of its steps",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluates the snapshot."""
    if args.suite is not None:
        _check_of_suite(args)
        from so101_robobase.evaluation.robustness_session import run_suite

        run_suite(args)
        return 0
    _choose_episodes(args)
    from so101_robobase.evaluation.session import run_evaluation

    run_evaluation(args)
    return 0


def _check_of_suite(args: argparse.Namespace) -> None:
    parser = argparse.ArgumentParser()
    configure(parser)
    for name in _NOT_OF_SUITES:
        if getattr(args, name) != parser.get_default(name):
            raise UserError(f"--{name} has no effect on --suite {args.suite}; leave it out")


def _choose_episodes(args: argparse.Namespace) -> None:
    if args.final and args.seed is not None:
        raise UserError(f"--final has the seeds from {FINAL_SEED}; leave out --seed {args.seed}")
    if args.seed is None:
        args.seed = FINAL_SEED if args.final else DEFAULT_SEED
    if args.num_episodes is None:
        args.num_episodes = FINAL_EPISODES if args.final else DEFAULT_EPISODES
