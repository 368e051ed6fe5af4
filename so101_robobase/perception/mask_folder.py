"""Labels as pictures: `images/` and, under the same names, `masks/` of class ids or colours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robobase.errors import UserError
from so101_robobase.base.files import inside
from so101_robobase.perception.class_names import class_ids, read_class_map, read_yaml_mapping
from so101_robobase.vision.observation import CLASSES, PALETTE
from so101_robobase.vision.picture_files import SUFFIXES, read_mask

DATASET_FILE = "dataset.yaml"
FORMAT = 1
"""Version of the layout that `segmentation dataset` writes, in its dataset.yaml."""

CLASSES_FILE = "classes.yaml"
_UNKNOWN = 255


class MaskFolder:
    """Pictures of `folder`/images with masks of the same stem in `folder`/masks.

    A mask is a PNG of one channel (or with a palette, whose indices count) that holds ids, or of
    three channels that holds colours. Which is which says `folder`/classes.yaml as
    `name: id` or `name: [red, green, blue]`; without it ids and colours are those of
    `observation.CLASSES` and `observation.PALETTE`. A folder with a dataset.yaml was written by
    `segmentation dataset`, perhaps not to its end: pictures that are still to come are no error.

    Raises UserError for missing pairs, an empty folder, unknown classes.
    """

    def __init__(self, folder: Path, class_map: Mapping[str, str] | Path | str | None = None):
        ours = (folder / DATASET_FILE).exists()
        pictures, masks = _by_stem(folder, "images"), _by_stem(folder, "masks")
        _require_pairs(folder, "mask", pictures, masks)
        if not ours:
            _require_pairs(folder, "picture", masks, pictures)
        if not pictures:
            raise UserError(f"{folder} holds no pictures in images/; fill it or leave it out")
        self.images = list(pictures.values())
        self._masks = [masks[stem] for stem in pictures]
        named = _written_classes(folder) if ours else _read_classes(folder)
        known = class_ids(named, read_class_map(class_map, folder), folder)
        self._class_of_id = np.full(256, _UNKNOWN, np.uint8)
        self._class_of_colour: dict[int, int] = {}  # 0xRRGGBB -> class id
        for name, value in named.items():
            if isinstance(value, int):
                self._class_of_id[value] = known[name]
            else:
                self._class_of_colour[_as_number(np.array(value)).item()] = known[name]
        if not named:
            self._class_of_id[: len(CLASSES)] = range(len(CLASSES))
            self._class_of_colour = {
                colour: k for k, colour in enumerate(_as_number(PALETTE).tolist())
            }

    def ids(self, index: int) -> np.ndarray:
        """Class ids (H, W) uint8 of picture `index`. Raises UserError for a bad mask."""
        path = self._masks[index]
        values = read_mask(path)
        return (
            self._from_ids(values, path) if values.ndim == 2 else self._from_colours(values, path)
        )

    def _from_ids(self, values: np.ndarray, path: Path) -> np.ndarray:
        inside = (values >= 0) & (values < len(self._class_of_id))
        ids = self._class_of_id[np.where(inside, values, 0)]
        unknown = ~inside | (ids == _UNKNOWN)
        if unknown.any():
            known = np.flatnonzero(self._class_of_id != _UNKNOWN).tolist()
            raise UserError(
                f"mask {path} holds id {values[unknown][0]}, which no class has; known: {known}"
            )
        return ids

    def _from_colours(self, values: np.ndarray, path: Path) -> np.ndarray:
        colours, inverse = np.unique(_as_number(values), return_inverse=True)
        for colour in colours.tolist():
            if colour not in self._class_of_colour:
                known = ", ".join(f"#{each:06x}" for each in self._class_of_colour)
                raise UserError(
                    f"mask {path} holds colour #{colour:06x}, which no class has; "
                    f"known: {known or 'none'}; masks may hold ids in one channel instead"
                )
        classes = np.array([self._class_of_colour[colour] for colour in colours.tolist()], np.uint8)
        return classes[inverse].reshape(values.shape[:2])


def _by_stem(folder: Path, name: str) -> dict[str, Path]:
    """Picture files of `folder`/`name` by name without suffix, sorted; none leads out of it."""
    within = inside(folder, name)
    if not within.is_dir():
        raise UserError(f"{folder / name} is missing; a labelled folder has images/ and masks/")
    files: dict[str, Path] = {}
    for path in sorted((folder / name).iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in files:
            raise UserError(f"{path} and {files[path.stem].name} have one name; rename one of them")
        if path.is_symlink():
            inside(folder, f"{name}/{path.name}")
        files[path.stem] = path
    return files


def _require_pairs(
    folder: Path, what: str, have: Mapping[str, Path], need: Mapping[str, Path]
) -> None:
    alone = [path for stem, path in have.items() if stem not in need]
    if alone:
        first = alone[0].relative_to(folder)
        raise UserError(
            f"{folder}: no {what} for {len(alone)} of {len(have)} files, the first is {first}; "
            "picture and mask must have the same name"
        )


def _written_classes(folder: Path) -> dict[str, int]:
    """{name: id} of a dataset that we wrote."""
    path = inside(folder, DATASET_FILE)
    content = read_yaml_mapping(path)
    if content.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {content.get('format')!r}; this version reads {FORMAT}; "
            "generate the dataset anew"
        )
    names = content.get("classes")
    if (
        not isinstance(names, list)
        or not 0 < len(names) < _UNKNOWN
        or not all(isinstance(name, str) for name in names)
    ):
        raise UserError(f"{path}: 'classes' must be a list of at most {_UNKNOWN - 1} names")
    return {name: k for k, name in enumerate(names)}


def _read_classes(folder: Path) -> dict[str, Any]:
    """{name: id, or [red, green, blue]}; empty without a classes.yaml."""
    path = inside(folder, CLASSES_FILE)
    if not path.exists():
        return {}
    named = read_yaml_mapping(path)
    for name, value in named.items():
        numbers = value if isinstance(value, list) else [value]
        whole = all(type(number) is int and 0 <= number <= 255 for number in numbers)
        if (
            not whole
            or len(numbers) not in (1, 3)
            or (len(numbers) == 1) == isinstance(value, list)
        ):
            raise UserError(
                f"{path}: {name}: {value!r} must be an id from 0 to 255 or [red, green, blue]"
            )
    return {str(name): value for name, value in named.items()}


def _as_number(colours: np.ndarray) -> np.ndarray:
    """(..., 3) red green blue -> (...) 0xRRGGBB."""
    return colours.astype(np.int64) @ np.array([0x10000, 0x100, 1])
