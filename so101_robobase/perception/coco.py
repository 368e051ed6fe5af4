"""COCO annotations: outlines (polygons) and run lengths to class ids, and class ids to COCO.

Format: https://cocodataset.org/#format-data. Run lengths go down the columns, beginning with the
number of pixels outside.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robobase.errors import UserError
from so101_robobase.files import written_whole
from so101_robobase.observation import CLASSES, ClassId
from so101_robobase.perception.class_names import UNCOVERED, class_ids, read_class_map

ANNOTATION_FILES = ("_annotations.coco.json", "annotations.json")
# OpenCV fills every pixel that an outline touches, COCO those whose centre it holds.
_SCALE = 5


class CocoLabels:
    """Pictures of a COCO file that have annotations.

    Where outlines overlap, the smaller one lies on top: people outline the table through the cube.
    Pixels that no outline covers are `unlabeled`, or what `uncovered` in the class map says.

    Raises UserError if the file is no COCO file, a picture is missing or a class is unknown.
    """

    def __init__(self, path: Path, class_map: Mapping[str, str] | Path | str | None = None):
        self._path = path
        content = _read(path)
        mapping = read_class_map(class_map, path.parent)
        self._uncovered = CLASSES.index(mapping.pop(UNCOVERED, CLASSES[ClassId.UNLABELED]))
        try:
            self._take(content, mapping)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is no COCO file: entry {error} is missing or wrong") from error
        if not self.images:
            raise UserError(f"{path} has no annotated pictures; annotate some or leave it out")

    def _take(self, content: dict[str, Any], mapping: Mapping[str, str]) -> None:
        outlines: dict[int, list[dict[str, Any]]] = {}
        for annotation in content["annotations"]:
            outlines.setdefault(annotation["image_id"], []).append(annotation)
        # Roboflow adds a category that nothing is annotated with, named after the project.
        used = {annotation["category_id"] for annotation in content["annotations"]}
        names = {entry["id"]: entry["name"] for entry in content["categories"]}
        nameless = used - names.keys()
        if nameless:
            raise UserError(f"{self._path} annotates category {min(nameless)}, which has no name")
        known = class_ids({names[number] for number in used}, mapping, self._path)
        self.images: list[Path] = []
        self._shapes: list[tuple[int, int]] = []
        self._outlines: list[list[tuple[int, Any]]] = []  # per picture: (class id, segmentation)
        for entry in content["images"]:
            if entry["id"] not in outlines:
                continue
            self.images.append(self._find(entry["file_name"]))
            self._shapes.append((entry["height"], entry["width"]))
            self._outlines.append(
                [
                    (known[names[each["category_id"]]], each.get("segmentation"))
                    for each in outlines[entry["id"]]
                ]
            )

    def _find(self, name: str) -> Path:
        for folder in (self._path.parent, self._path.parent / "images"):
            if (folder / name).is_file():
                return folder / name
        raise UserError(f"{self._path} names picture {name!r}, which is not beside it")

    def ids(self, index: int) -> np.ndarray:
        """Class ids (H, W) uint8 of picture `index`. Raises UserError for a bad outline."""
        shape = self._shapes[index]
        ids = np.full(shape, self._uncovered, np.uint8)
        where = f"{self._path}, picture {self.images[index].name}"
        masks = [(rasterize(outline, shape, where), k) for k, outline in self._outlines[index]]
        for mask, class_id in sorted(masks, key=lambda item: -int(item[0].sum())):
            ids[mask] = class_id
        return ids


def rasterize(outline: Any, shape: tuple[int, int], where: str) -> np.ndarray:
    """A COCO `segmentation` as a mask (H, W) bool: polygons or run lengths, plain or as text."""
    if isinstance(outline, Mapping):
        return _from_run_lengths(outline, shape, where)
    polygons = outline if isinstance(outline, list) else []
    if not polygons or not all(isinstance(each, list) and len(each) >= 6 for each in polygons):
        raise UserError(f"{where}: an annotation has no outline; draw polygons, not boxes")
    fine = np.zeros((_SCALE * shape[0], _SCALE * shape[1]), np.uint8)
    points = [
        np.round(_SCALE * np.array(each, float).reshape(-1, 2) - 0.5).astype(np.int32)
        for each in polygons
    ]
    cv2.fillPoly(fine, points, 1)
    middle = slice(_SCALE // 2, None, _SCALE)
    return fine[middle, middle] > 0


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Mask (H, W) bool -> plain COCO run lengths."""
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"size": list(mask.shape), "counts": counts.tolist()}


def export_coco(pictures: Iterable[tuple[Path, np.ndarray]], file: Path) -> int:
    """Write pictures (path, class ids (H, W)) as a COCO file; returns how many.

    One annotation per class and picture, exact run lengths; `unlabeled` is what none covers.
    Paths are written relative to the file where they lie below it.
    """
    categories = [
        {"id": int(k), "name": CLASSES[k], "supercategory": "so101"}
        for k in ClassId
        if k != ClassId.UNLABELED
    ]
    images: list[dict[str, Any]] = []
    count = 0
    with written_whole(file) as temporary, open(temporary, "w") as stream:
        stream.write('{"annotations": [')
        for number, (path, ids) in enumerate(pictures, start=1):
            for class_id in np.unique(ids[ids != ClassId.UNLABELED]).tolist():
                count += 1
                stream.write(",\n" if count > 1 else "\n")
                json.dump(_annotation(count, number, class_id, ids == class_id), stream)
            height, width = ids.shape
            images.append(
                {"id": number, "file_name": _relative(path, file), "width": width, "height": height}
            )
        stream.write('\n],\n"images": ' + json.dumps(images))
        stream.write(',\n"categories": ' + json.dumps(categories) + "}\n")
    return len(images)


def _annotation(number: int, image: int, class_id: int, mask: np.ndarray) -> dict[str, Any]:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return {
        "id": number,
        "image_id": image,
        "category_id": class_id,
        "bbox": [x, y, width, height],
        "area": int(mask.sum()),
        "iscrowd": 1,  # COCO's word for run lengths instead of polygons
        "segmentation": run_lengths(mask),
    }


def _relative(path: Path, file: Path) -> str:
    path, folder = path.resolve(), file.resolve().parent
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no COCO file: it has no 'images' and 'annotations'")
    return content


def _from_run_lengths(outline: Mapping[str, Any], shape: tuple[int, int], where: str) -> np.ndarray:
    height, width = shape
    counts = outline.get("counts")
    counts = np.array(_uncompressed(counts) if isinstance(counts, str) else counts or [], int)
    if list(outline.get("size", ())) != [height, width] or counts.sum() != height * width:
        raise UserError(f"{where}: run lengths do not fill its {width}x{height} pixels")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def _uncompressed(text: str) -> list[int]:
    """Run lengths from COCO's text form: 5 bits a character, from the third on as differences."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:  # negative
            value |= -1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts
