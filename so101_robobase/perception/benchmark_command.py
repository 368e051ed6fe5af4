"""`so101_robobase perception benchmark`: latency of the networks on this machine."""

import argparse
from pathlib import Path

from robobase.errors import UserError
from so101_robobase.base.arguments import NETWORK, Device, FrameSize, Input, Number


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--segmentation", action=Input, what=NETWORK, metavar="CKPT", help=NETWORK)
    parser.add_argument(
        "--depth",
        metavar="FOLDER",
        help="Depth Anything: a folder, a name on Hugging Face, or 'untrained' for V2 Small with "
        "random weights, which is as fast and needs no download",
    )
    parser.add_argument(
        "--input_sizes",
        nargs="+",
        type=int,
        action=Number,
        least=14,
        most=4096,
        metavar="PIXELS",
        help="shorter edges that the depth network sees (default: the processor's, 518)",
    )
    parser.add_argument(
        "--frame_size",
        action=FrameSize,
        default="640x480",
        help="of the camera, width x height (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        nargs="+",
        type=int,
        action=Number,
        least=1,
        most=1024,
        metavar="N",
        help="CPU threads (default: 1, and as many as there are cores)",
    )
    parser.add_argument(
        "--runtimes",
        nargs="+",
        choices=["torch", "onnx"],
        default=["torch", "onnx"],
        help="onnx runs on the CPU whatever the device (default: both)",
    )
    parser.add_argument(
        "--device", action=Device, default="cpu", help="for torch (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        action=Number,
        least=0,
        most=86_400,
        default=5.0,
        help="to spend on each row (default: %(default)s)",
    )


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
