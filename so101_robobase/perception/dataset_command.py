"""`so101_robobase segmentation dataset`: labelled pictures from the simulator, and their checks."""

import argparse
from pathlib import Path

from so101_robobase.base.arguments import (
    ALIGNMENT,
    PICTURES,
    add_frame_size,
    add_input,
    add_number,
    add_seed,
)

EXAMPLE = "so101_robobase segmentation dataset --num_images 2000 --size 320x240 --output data/train"

CONTACT_SHEET = "contact_sheet.png"
_SHOWN = 32  # pictures on the contact sheet


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    render = parser.add_argument_group("render")
    render.add_argument("--output", type=Path, metavar="DIR", help="where the dataset goes")
    add_number(render, "--num_images", 1, 10**7, default=20_000)
    add_frame_size(render, "--size", "width x height in pixels")
    add_seed(render, "another seed, other pictures")
    add_number(render, "--workers", 1, 256, "processes (default: the cores that may be used)")
    widths = "widths of all ranges; 1.2 for held-out data"
    add_number(render, "--widen", 0, 10, widths, 1.0, type=float)
    about = "a real arm's, whose camera looks vary about; see `robot align camera`"
    add_input(render, "--alignment", ALIGNMENT, about, metavar="YAML")
    render.add_argument(
        "--no_randomization", action="store_true", help="the scene as the simulator shows it"
    )
    only = f"only {CONTACT_SHEET} of the first N pictures, to look at before a long run"
    add_number(render, "--preview", 1, 10_000, only, metavar="N")
    labelled = parser.add_argument_group("labelled folders, rendered or from elsewhere")
    labelled.add_argument(
        "--export_coco",
        nargs=2,
        type=Path,
        metavar=("DIR", "FILE"),
        help="write the labels of DIR as COCO JSON; `annotations.json` in DIR is found again",
    )
    check = "read every pair of DIR, print what is in it; contact sheet to --output, if given"
    add_input(labelled, "--check", PICTURES, check, metavar="DIR")
    names = "YAML of `name there: name here`"
    default = f"{names} (default: class_map.yaml in DIR)"
    add_input(labelled, "--class_map", names, default, metavar="FILE")


def run(args: argparse.Namespace) -> int:
    """Renders a dataset, or looks after one."""
    from robobase.errors import UserError

    if args.export_coco:
        folder, file = args.export_coco
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; give {PICTURES}")
        return _export(folder, file, args.class_map)
    if args.check:
        return _check(args.check, args.class_map, args.output)
    if args.output is None:
        raise UserError("say where the dataset goes: --output DIR")
    if args.no_randomization and args.widen != 1:
        raise UserError("--widen says how wide the ranges are; --no_randomization has none")
    return _render(args)


def _render(args: argparse.Namespace) -> int:
    from so101_robobase.arm.alignment import measured_camera
    from so101_robobase.base.arguments import parse_frame_size
    from so101_robobase.perception import dataset
    from so101_robobase.perception.contact_sheet import evenly, write_contact_sheet
    from so101_robobase.perception.folder import LabelledPictures
    from so101_robobase.sim.threads import usable_threads

    height, width = parse_frame_size(args.size)
    camera = measured_camera(args.alignment) if args.alignment else None
    values = {"width": width, "height": height, "seed": args.seed, "camera": camera}
    if args.no_randomization:
        settings = dataset.DatasetSettings(**values)
    else:
        settings = dataset.DatasetSettings.randomized(args.widen, **values)
    workers = args.workers if args.workers is not None else usable_threads()
    sheet = args.output / CONTACT_SHEET
    if args.preview is not None:
        write_contact_sheet(sheet, dataset.preview(args.output, args.preview, settings, workers))
        print(f"{args.preview} pictures on {sheet}")
        return 0
    done = dataset.generate(args.output, args.num_images, settings, workers)
    data = LabelledPictures(args.output)
    write_contact_sheet(sheet, evenly(data, _SHOWN))
    print(f"{len(data)} pictures in {args.output}, {done} of them new; have a look at {sheet}")
    return 0


def _export(folder: Path, file: Path, class_map: Path | None) -> int:
    from tqdm import tqdm

    from so101_robobase.base.files import checked_output
    from so101_robobase.perception.coco import export_coco
    from so101_robobase.perception.folder import LabelledPictures

    file = checked_output(file)
    data = LabelledPictures(folder, class_map)
    rows = ((path, data.ids(index)) for index, path in enumerate(tqdm(data.images, "exporting")))
    number = export_coco(rows, file, folder if folder.is_dir() else folder.parent)
    print(f"{number} pictures in {file}")
    return 0


def _check(folder: Path, class_map: Path | None, output: Path | None) -> int:
    import numpy as np
    from tqdm import tqdm

    from so101_robobase.evaluation.report import table
    from so101_robobase.perception.contact_sheet import evenly, write_contact_sheet
    from so101_robobase.perception.folder import LabelledPictures

    data = LabelledPictures(folder, class_map)
    shares = np.zeros((len(data), len(data.classes)))
    sizes = set()
    for index in tqdm(range(len(data)), "reading"):
        _, ids = data[index]
        sizes.add(f"{ids.shape[1]}x{ids.shape[0]}")
        shares[index] = np.bincount(ids.ravel(), minlength=shares.shape[1]) / ids.size
    rows = [
        [name, str(int((share > 0).sum())), f"{share.mean():.2%}"]
        for name, share in zip(data.classes, shares.T, strict=True)
    ]
    print(table(rows, ["class", "pictures", "pixels"]))
    print(f"{len(data)} pictures of {', '.join(sorted(sizes))}")
    if output is not None:
        write_contact_sheet(output / CONTACT_SHEET, evenly(data, _SHOWN))
        print(f"have a look at {output / CONTACT_SHEET}")
    return 0
