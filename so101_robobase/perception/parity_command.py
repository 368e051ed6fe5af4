"""`so101_robobase perception parity`: what networks see against what the simulator knows."""

import argparse
from pathlib import Path

from robobase.errors import UserError
from so101_robobase.base.arguments import (
    ALIGNMENT,
    NETWORK,
    SNAPSHOT,
    Device,
    FrameSize,
    Input,
    Number,
    Seed,
)

NUM_IMAGES = 500
SEED = 1_000_000  # of scenes that no dataset has seen whose seed is smaller
WIDEN = 1.2


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--segmentation",
        action=Input,
        what=NETWORK,
        type=str,
        metavar="CHECKPOINT",
        help="default: the simulator's own class ids",
    )
    parser.add_argument(
        "--depth",
        default="scene",
        help="scene: the simulator's; simulated: a stand-in for a network; or a network's name or "
        "folder (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the report")
    pictures = parser.add_argument_group("pictures")
    pictures.add_argument(
        "--num_images",
        type=int,
        action=Number,
        least=1,
        most=10**6,
        default=NUM_IMAGES,
        help="default: %(default)s",
    )
    pictures.add_argument(
        "--seed", type=int, action=Seed, default=SEED, help="default: %(default)s"
    )
    pictures.add_argument(
        "--widen",
        type=float,
        action=Number,
        least=0,
        most=10,
        default=WIDEN,
        help="ranges of looks, times this (%(default)s)",
    )
    pictures.add_argument(
        "--alignment",
        action=Input,
        what=ALIGNMENT,
        metavar="YAML",
        help="a real arm's, whose camera looks vary about; not of --snapshot's episodes",
    )
    pictures.add_argument(
        "--size", action=FrameSize, default="640x480", help="of the frames (default: %(default)s)"
    )
    policy = parser.add_argument_group("policy")
    policy.add_argument(
        "--snapshot", action=Input, what=SNAPSHOT, help="also let this policy act on what they see"
    )
    policy.add_argument(
        "--overrides",
        nargs="+",
        default=[],
        metavar="key=value",
        help="changes to the snapshot's config, as of `evaluate`",
    )
    policy.add_argument(
        "--num_episodes",
        type=int,
        action=Number,
        least=1,
        most=10**6,
        default=100,
        help="default: %(default)s",
    )
    parser.add_argument(
        "--device", action=Device, default="cpu", help="of the networks (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Compares, prints a table and writes parity.json and parity.png."""
    if args.overrides and args.snapshot is None:
        raise UserError("--overrides changes the config of a snapshot; give --snapshot too")
    if args.segmentation is None and args.depth == "scene":
        raise UserError("nothing to compare: give --segmentation CHECKPOINT, --depth, or both")
    from so101_robobase.perception.parity_report import run_parity

    run_parity(args)
    return 0
