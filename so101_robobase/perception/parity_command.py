"""`so101_robobase perception parity`: what networks see against what the simulator knows."""

import argparse
from pathlib import Path

from robobase.errors import UserError
from so101_robobase.base.arguments import (
    ALIGNMENT,
    NETWORK,
    SNAPSHOT,
    add_device,
    add_frame_size,
    add_input,
    add_number,
    add_overrides,
    add_seed,
)

EXAMPLE = (
    "so101_robobase perception parity --segmentation policies/segmentation.pt "
    "--depth simulated --output runs/parity"
)

NUM_IMAGES = 500
SEED = 1_000_000  # of scenes that no dataset has seen whose seed is smaller
WIDEN = 1.2


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    simulators = "default: the simulator's own class ids"
    add_input(parser, "--segmentation", NETWORK, simulators, type=str, metavar="CHECKPOINT")
    parser.add_argument(
        "--depth",
        default="scene",
        help="scene: the simulator's; simulated: a stand-in for a network; or a network's name or "
        "folder (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the report")
    pictures = parser.add_argument_group("pictures")
    add_number(pictures, "--num_images", 1, 10**6, default=NUM_IMAGES)
    add_seed(pictures, default=SEED)
    add_number(pictures, "--widen", 0, 10, "ranges of looks, times this", WIDEN, type=float)
    about = "a real arm's, whose camera looks vary about; not of --snapshot's episodes"
    add_input(pictures, "--alignment", ALIGNMENT, about, metavar="YAML")
    add_frame_size(pictures, "--size", "of the frames")
    policy = parser.add_argument_group("policy")
    add_input(policy, "--snapshot", SNAPSHOT, "also let this policy act on what they see")
    add_overrides(policy)
    add_number(policy, "--num_episodes", 1, 10**6, default=100)
    add_device(parser, "cpu", "of the networks")


def run(args: argparse.Namespace) -> int:
    """Compares, prints a table and writes parity.json and parity.png."""
    if args.overrides and args.snapshot is None:
        raise UserError("--overrides changes the config of a snapshot; give --snapshot too")
    if args.segmentation is None and args.depth == "scene":
        raise UserError("nothing to compare: give --segmentation CHECKPOINT, --depth, or both")
    from so101_robobase.perception.parity_report import run_parity

    run_parity(args)
    return 0
