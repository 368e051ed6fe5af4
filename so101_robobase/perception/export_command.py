"""`so101_robobase perception export`: a network as an ONNX file that computes the same."""

import argparse
from pathlib import Path

from so101_robobase.base.arguments import NETWORK, add_frame_size, add_input, add_number

EXAMPLE = (
    "so101_robobase perception export --segmentation policies/segmentation.pt "
    "--output segmentation.onnx"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    network = parser.add_mutually_exclusive_group(required=True)
    add_input(network, "--segmentation", NETWORK, metavar="CKPT")
    network.add_argument(
        "--depth", metavar="FOLDER", help="Depth Anything: a folder, or a name on Hugging Face"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.onnx")
    depth = parser.add_argument_group("depth")
    frames = "width x height of the camera's frames; the file works for no other"
    add_frame_size(depth, "--frame_size", frames)
    sees = "shorter edge of what the network sees; smaller is faster (default: the network's 518)"
    add_number(depth, "--input_size", 14, 4096, sees, metavar="PIXELS")


def run(args: argparse.Namespace) -> int:
    """Writes the file and prints how far it is from the original."""
    from so101_robobase.base.files import checked_output

    output = checked_output(args.output, [".onnx"])
    from so101_robobase.base.arguments import parse_frame_size
    from so101_robobase.evaluation.report import table
    from so101_robobase.perception.onnx_export import export_depth, export_segmentation

    if args.segmentation is not None:
        from so101_robobase.perception.segmentation.inference import SegmentationInference

        parity = export_segmentation(SegmentationInference(args.segmentation), output)
        predictions = ["class ids, equal pixels", f"{1 - parity.error:.4%}"]
    else:
        from so101_robobase.perception.depth import DepthInference

        frame = parse_frame_size(args.frame_size)
        depth = DepthInference(args.depth, input_size=args.input_size)
        parity = export_depth(depth, output, frame)
        predictions = ["disparity, mean difference / span", f"{parity.error:.1e}"]
    outputs = ["network's output, greatest difference / span", f"{parity.difference:.1e}"]
    print(table([outputs, predictions], ["torch against onnxruntime", "worst frame"]))
    print(f"network: {args.output} ({output.stat().st_size / 2**20:.1f} MiB)")
    return 0
