"""`so101_robobase perception benchmark`: latency of the networks on this machine."""

import argparse
from pathlib import Path

from robobase.errors import UserError
from so101_robobase.base.arguments import NETWORK, add_device, add_frame_size, add_input, add_number

EXAMPLE = "so101_robobase perception benchmark --segmentation policies/segmentation.pt"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_input(parser, "--segmentation", NETWORK, metavar="CKPT")
    parser.add_argument(
        "--depth",
        metavar="FOLDER",
        help="Depth Anything: a folder, a name on Hugging Face, or 'untrained' for V2 Small with "
        "random weights, which is as fast and needs no download",
    )
    sizes = "shorter edges that the depth network sees (default: the processor's, 518)"
    add_number(parser, "--input_sizes", 14, 4096, sizes, nargs="+", metavar="PIXELS")
    add_frame_size(parser, "--frame_size", "of the camera, width x height")
    threads = "CPU threads (default: 1, and as many as there are cores)"
    add_number(parser, "--threads", 1, 1024, threads, nargs="+", metavar="N")
    parser.add_argument(
        "--runtimes",
        nargs="+",
        choices=["torch", "onnx"],
        default=["torch", "onnx"],
        help="onnx runs on the CPU whatever the device (default: both)",
    )
    add_device(parser, "cpu", "for torch")
    add_number(parser, "--seconds", 0, 86_400, "to spend on each row", 5.0, type=float)


def run(args: argparse.Namespace) -> int:
    """Measures and prints a table."""
    if args.segmentation is None and args.depth is None:
        raise UserError(
            "no network to measure: give --segmentation CKPT, --depth FOLDER, --depth untrained"
        )
    from tempfile import TemporaryDirectory

    from tqdm import tqdm

    from so101_robobase.base.arguments import parse_frame_size
    from so101_robobase.evaluation.report import table
    from so101_robobase.perception.latency import latencies, load_networks

    frame_size = parse_frame_size(args.frame_size)
    threads = args.threads or _default_threads()
    with TemporaryDirectory() as folder:
        networks = load_networks(
            Path(folder),
            args.segmentation,
            args.depth,
            args.input_sizes or [None],
            frame_size,
            args.device,
            with_onnx="onnx" in args.runtimes,
        )
        rows = latencies(networks, args.runtimes, threads, frame_size, args.seconds)
        total = len(networks) * len(args.runtimes) * len(threads)
        measured = list(tqdm(rows, "latency", total, unit="row"))
    header = ["network", "input", "runtime", "threads", "median ms", "p95 ms", "frames/s"]
    cells = [
        [
            row.network,
            row.input_size,
            row.runtime if row.runtime == "onnx" else f"torch, {args.device}",
            str(row.threads),
            f"{row.median:.1f}",
            f"{row.p95:.1f}",
            f"{row.fps:.1f}",
        ]
        for row in measured
    ]
    print(f"frames of {args.frame_size}, one at a time, from BGR to a prediction of that size")
    print(table(cells, header))
    return 0


def _default_threads() -> list[int]:
    """One, and all cores that this process may use."""
    from robobase.compute import available_cores

    return sorted({1, available_cores()})
