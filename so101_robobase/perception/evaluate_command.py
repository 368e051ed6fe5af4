"""`so101_robobase segmentation evaluate`: how well a network masks labelled pictures."""

import argparse
from pathlib import Path

from so101_robobase.base.arguments import NETWORK, PICTURES, add_device, add_input

EXAMPLE = "so101_robobase segmentation evaluate policies/segmentation.pt data/held_out"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_input(parser, "checkpoint", NETWORK)
    add_input(parser, "data", PICTURES, "folders of labelled pictures", nargs="+")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of tables, confusion matrix and overlays (default: in the run folder, or "
        "runs/<name> for a checkpoint that is in none)",
    )
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Measures and reports."""
    import numpy as np

    from robobase.output_folder import make_unique
    from so101_robobase.base.files import claimed, output_folder
    from so101_robobase.perception.folder import LabelledPictures
    from so101_robobase.perception.segmentation import report
    from so101_robobase.perception.segmentation.data import ResizedPictures
    from so101_robobase.perception.segmentation.inference import SegmentationInference

    inference = SegmentationInference(args.checkpoint, args.device)
    network = inference.network
    pictures = ResizedPictures([LabelledPictures(path) for path in args.data], network.spec.size)
    name = f"evaluation_{args.data[0].resolve().name}"
    indices = np.arange(len(pictures))
    marks = ("*.csv", "*.json"), "an evaluation", "--output"
    folder = args.output or make_unique(output_folder(args.checkpoint) / name)
    with claimed(folder, folder, *marks) as output:
        evaluation = report.measure(output, network, pictures, indices, inference.device)
    print(report.iou_table(evaluation))
    print(f"{len(pictures)} pictures -> {output}")
    return 0
