"""`so101_robobase segmentation infer`: masks of pictures, videos or a camera, to look at or use."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from robobase.errors import UserError
from so101_robobase.base.arguments import NETWORK, add_device, add_input, add_number

if TYPE_CHECKING:
    import numpy as np

    from so101_robobase.perception.segmentation.inference import SegmentationInference
    from so101_robobase.perception.segmentation.sources import Source


EXAMPLE = "so101_robobase segmentation infer video.mp4 --checkpoint policies/segmentation.pt"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "source", help="a picture, a folder of pictures, a video, or a camera's number (0, 1 ...)"
    )
    add_input(parser, "--checkpoint", NETWORK, required=True)
    parser.add_argument(
        "--output", type=Path, help="folder (default: runs/segmented/<date and time>)"
    )
    parser.add_argument(
        "--ids",
        action="store_true",
        help="write class ids 0 to 5 as grey PNG files instead of coloured overlays",
    )
    stop = "stop after so many frames (default: all; a camera: Ctrl-C)"
    add_number(parser, "--max_frames", 1, 10**9, stop)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Segments the source; Ctrl-C ends a camera's recording, what is done stays."""
    if not args.source.isdecimal() and not Path(args.source).exists():
        raise UserError(
            f"{args.source} does not exist; give a picture, a folder, a video or a camera's number"
        )
    from itertools import islice

    from tqdm import tqdm

    from robobase.signals import StopRequest
    from so101_robobase.base.files import RUNS, claimed
    from so101_robobase.perception.segmentation.inference import SegmentationInference
    from so101_robobase.perception.segmentation.sources import open_source

    inference = SegmentationInference(args.checkpoint, args.device)
    source = open_source(args.source)
    frames = islice(source.frames, args.max_frames)
    written = _written(args.ids, source)
    default = RUNS / "segmented"
    with (
        claimed(
            args.output, default, [written], f"{written} of another call", "--output"
        ) as folder,
        StopRequest() as stop,
        _writer(folder, args.ids, source) as write,
    ):
        for name, frame in tqdm(frames, total=args.max_frames or source.count, unit="frame"):
            write(name, _drawn(inference, frame, args.ids))
            if stop:
                break
    print(f"{source.name} -> {folder}")
    return 0


def _drawn(inference: "SegmentationInference", frame: "np.ndarray", ids_only: bool):
    from so101_robobase.perception.segmentation.report import blend

    ids = inference.predict(frame)
    return ids if ids_only else blend(frame, ids)


def _written(ids_only: bool, source: "Source") -> str:
    """Pattern of what comes of `source`, within the output folder."""
    if source.fps is None:
        return "*.png"
    return f"{source.name}/*.png" if ids_only else f"{source.name}.mp4"


def _writer(folder: Path, ids_only: bool, source: "Source"):
    from so101_robobase.perception.segmentation.output import picture_files, video_file

    if source.fps is None:
        return picture_files(folder)
    if ids_only:
        return picture_files(folder / source.name)
    return video_file(folder / f"{source.name}.mp4", source.fps)
