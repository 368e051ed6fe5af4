"""`so101_robobase segmentation train`: a segmentation network from labelled pictures."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from so101_robobase.base.arguments import PICTURES, add_input, add_number

if TYPE_CHECKING:
    from so101_robobase.perception.segmentation.training import Training

EXAMPLE = (
    "so101_robobase segmentation train --data data/train --test data/held_out "
    "--output runs/segmentation/home"
)

_INTERRUPTED = 130  # exit code, as of the whole command line
_SAVING = "what was learnt since the last save is about to be written"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    pictures = parser.add_argument_group("labelled pictures")
    for name, default, what in (
        (
            "--data",
            None,
            "folder of `segmentation dataset`; as the other folders, may be given repeatedly",
        ),
        ("--extra", [], "further labelled pictures, real ones for example: masks or COCO"),
        (
            "--validation",
            [],
            "choose the best network by this folder (default: by a share of each folder)",
        ),
        ("--test", [], "measure the best network on this folder in the end"),
    ):
        add_input(pictures, name, PICTURES, what, append=True, default=default, metavar="DIR")
    run_ = parser.add_argument_group("run")
    run_.add_argument(
        "--preset",
        choices=("home", "full"),
        default="home",
        help="home: two CPU cores; full: 640x480 on a GPU (default: %(default)s)",
    )
    folder = run_.add_mutually_exclusive_group()
    folder.add_argument(
        "--output", type=Path, help="run folder (default: runs/segmentation/<date and time>)"
    )
    add_input(folder, "--resume", "the folder of a run to continue", metavar="RUN")
    limit = "stop after this long, as if by Ctrl-C"
    add_number(run_, "--time_limit_minutes", 0, 10**7, limit, type=float)
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="changes to cfgs/segmentation.yaml: optimisation.epochs=10",
    )


def run(args: argparse.Namespace) -> int:
    """Trains, then measures the best network; 130 if it was stopped before."""
    from robobase import run_folder
    from so101_robobase.perception.segmentation import config as configuration

    cfg = _settings(args)
    settings = configuration.checked(cfg)
    with _run_folder(args) as run_dir:
        training = _prepare(settings, run_dir)
        if args.resume:
            training.resume()
        run_folder.prepare(run_dir, cfg)
        return _train(args, training, settings.data.test)


def _train(args: argparse.Namespace, training: "Training", test: Sequence[str]) -> int:
    import shlex

    from robobase.signals import StopRequest

    print(
        f"{training.network.num_parameters / 1e6:.2f} M parameters, "
        f"{len(training.data.training)} pictures to train and {len(training.data.validation)} to "
        f"validate with, {training.total_steps} steps -> {training.run_dir}",
        flush=True,
    )
    with StopRequest(args.time_limit_minutes, _SAVING) as stop:
        finished = training.run(stop)
        if not finished:
            again = shlex.join(["--resume", str(training.run_dir)])
            print(f"stopped ({stop.reason}); continue with segmentation train {again}")
            return _INTERRUPTED
    _report(training, test)
    return 0


def _run_folder(args: argparse.Namespace):
    """The folder of the run, locked."""
    from so101_robobase.base.files import claimed
    from so101_robobase.perception.segmentation import checkpoint

    marks = () if args.resume else (checkpoint.LAST, checkpoint.BEST)
    folder = args.resume or args.output
    return claimed(folder, Path("runs/segmentation"), marks, "a run", "--output, or --resume it")


def _settings(args: argparse.Namespace):
    from robobase.errors import UserError
    from so101_robobase.perception.segmentation import checkpoint
    from so101_robobase.perception.segmentation import config as configuration

    if args.resume:
        path = args.resume / "config.yaml"
        if not path.is_file() or not (args.resume / checkpoint.LAST).is_file():
            raise UserError(
                f"{args.resume} is no run to continue: it needs config.yaml and {checkpoint.LAST}"
            )
        if args.data or args.extra or args.validation:
            raise UserError("--resume continues with the pictures of the run; leave --data out")
        cfg = configuration.changed(configuration.stored(path), args.overrides)
        if args.test:
            cfg.data.test = [str(path) for path in args.test]
        return cfg
    if not args.data:
        raise UserError("give --data a folder of labelled pictures, or --resume a run folder")
    cfg = configuration.settings(args.preset, args.overrides)
    cfg.data.folders = [str(path) for path in args.data]
    for name in ("extra", "validation", "test"):
        cfg.data[name] = [str(path) for path in getattr(args, name)]
    return cfg


def _prepare(settings, run_dir: Path) -> "Training":
    import torch

    from robobase.compute import share_threads, usable_device
    from so101_robobase.perception.segmentation.model import SegmentationNetwork
    from so101_robobase.perception.segmentation.pretrained import with_encoder_weights
    from so101_robobase.perception.segmentation.training import Training, TrainingData

    device = usable_device(settings.device)
    share_threads(settings.num_threads)
    data = TrainingData.of(settings)
    torch.manual_seed(settings.seed)
    network = with_encoder_weights(
        settings.model.encoder_weights,
        lambda pretrained: SegmentationNetwork(settings.model.spec, pretrained),
        lambda line: print(line, flush=True),
    )
    return Training(settings, network, data, run_dir, device)


def _report(training: "Training", test: Sequence[str]) -> None:
    import math

    import numpy as np

    from so101_robobase.perception.folder import LabelledPictures
    from so101_robobase.perception.segmentation import checkpoint, report
    from so101_robobase.perception.segmentation.data import ResizedPictures

    best = checkpoint.read(training.run_dir / checkpoint.BEST)
    checkpoint.load_weights(training.network, best["weights"], checkpoint.BEST)
    epoch = best["metrics"].get("epoch", math.nan)
    sets = {"validation": (training.data.pictures, training.data.validation)}
    if test:
        pictures = ResizedPictures([LabelledPictures(p) for p in test], training.network.spec.size)
        sets["test"] = (pictures, np.arange(len(pictures)))
    for name, (pictures, indices) in sets.items():
        evaluation = report.measure(
            training.run_dir / name, training.network, pictures, indices, training.device
        )
        print(f"{name}: {len(indices)} pictures, network of epoch {epoch:g}")
        print(report.iou_table(evaluation), flush=True)
