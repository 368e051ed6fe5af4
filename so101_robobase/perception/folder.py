"""Labelled pictures on disk in any of the known layouts, always with our class ids."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from robobase.errors import UserError
from so101_robobase.perception.coco import ANNOTATION_FILES, CocoLabels
from so101_robobase.perception.mask_folder import DATASET_FILE, MaskFolder
from so101_robobase.vision.observation import CLASSES
from so101_robobase.vision.picture_files import read_picture


class Labels(Protocol):
    """What a layout gives: picture files and, for each, its class ids."""

    images: list[Path]

    def ids(self, index: int) -> np.ndarray:
        """(H, W) uint8."""


class LabelledPictures:
    """The labelled pictures of a folder, in the order of their names or of the COCO file.

    | layout      | known by                                      | see        |
    |-------------|-----------------------------------------------|------------|
    | ours        | dataset.yaml (`segmentation dataset` wrote it)| MaskFolder |
    | mask folder | images/ and masks/                            | MaskFolder |
    | COCO        | _annotations.coco.json or annotations.json    | CocoLabels |

    Args:
        path: the folder, or a COCO file by any name.
        class_map: {name there: name in `CLASSES`}, or a YAML file of that; default
            class_map.yaml in the folder, if there is one.

    Raises:
        UserError: nothing labelled there, pairs are missing, a class is unknown. A broken picture
            or mask, or one of another size than the other, is met when it is read.

    Attributes:
        path: the folder.
        classes: names of the ids, always `observation.CLASSES`.
        images: the picture files.
    """

    classes = CLASSES

    def __init__(self, path: Path | str, class_map: Mapping[str, str] | Path | str | None = None):
        self.path = Path(path)
        self._labels = _open(self.path, class_map)
        self.images = self._labels.images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Picture (H, W, 3) uint8 BGR as stored (no EXIF turning), class ids (H, W) uint8."""
        picture, ids = read_picture(self.images[index]), self._labels.ids(index)
        if picture.shape[:2] != ids.shape:
            (height, width), (mask_height, mask_width) = picture.shape[:2], ids.shape
            raise UserError(
                f"{self.images[index]} is {width}x{height}, its labels {mask_width}x{mask_height}; "
                "both must be of one size"
            )
        return picture, ids

    def ids(self, index: int) -> np.ndarray:
        """Class ids (H, W) uint8 of picture `index` alone."""
        return self._labels.ids(index)


def _open(path: Path, class_map: Mapping[str, str] | Path | str | None) -> Labels:
    if path.is_file():
        return CocoLabels(path, class_map)
    if not path.is_dir():
        raise UserError(f"{path} does not exist; give a folder of labelled pictures")
    if (path / DATASET_FILE).exists() or (path / "masks").is_dir():
        return MaskFolder(path, class_map)
    for name in ANNOTATION_FILES:
        if (path / name).exists():
            return CocoLabels(path / name, class_map)
    raise UserError(
        f"{path} holds no labelled pictures; it needs images/ and masks/, or one of "
        f"{', '.join(ANNOTATION_FILES)}"
    )
