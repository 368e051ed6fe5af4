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
from robobase.reading import MIB, read_json
from so101_robobase.base.files import MARK, inside, written_whole
from so101_robobase.perception.class_names import UNCOVERED, class_ids, read_class_map
from so101_robobase.vision.observation import CLASSES, ClassId
from so101_robobase.vision.picture_files import MOST_PIXELS

ANNOTATION_FILES = ("_annotations.coco.json", "annotations.json")
# OpenCV fills every pixel that an outline touches, COCO those whose centre it holds.
_SCALE = 5
_MOST_BYTES = 256 * MIB  # of a file; unpacked it takes about ten times as much
_MOST_POINTS = 20_000  # of an outline
_MOST_COORDINATE = 2**16  # pixels; beyond OpenCV's arithmetic overflows
_LONGEST_COUNT = 6  # characters of a packed run length
_MOST_LABELLED = 2**31  # pixels of a picture times its outlines


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
        except UserError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
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
            number = next(iter(nameless))
            raise UserError(f"{self._path} annotates category {number}, which has no name")
        known = class_ids({str(names[number]) for number in used}, mapping, self._path)
        self.images: list[Path] = []
        self._shapes: list[tuple[int, int]] = []
        self._outlines: list[list[tuple[int, Any]]] = []  # per picture: (class id, segmentation)
        for entry in content["images"]:
            if entry["id"] not in outlines:
                continue
            self.images.append(self._find(entry["file_name"]))
            here = outlines[entry["id"]]
            self._shapes.append(self._shape(entry["height"], entry["width"], len(here)))
            self._outlines.append(
                [
                    (known[str(names[each["category_id"]])], each.get("segmentation"))
                    for each in here
                ]
            )

    def _find(self, name: str) -> Path:
        folder = self._path.parent
        for within in (Path(name), Path("images", name)):
            if inside(folder, str(within)).is_file():
                return folder / within
        raise UserError(f"{self._path} names picture {name!r}, which is not beside it")

    def _shape(self, height: Any, width: Any, outlines: int) -> tuple[int, int]:
        if type(height) is not int or type(width) is not int or min(height, width) < 1:
            raise UserError(f"{self._path} has a picture of {width} x {height} pixels")
        pixels = height * width
        if pixels > MOST_PIXELS or pixels * outlines > _MOST_LABELLED:
            raise UserError(
                f"{self._path} has {outlines} outlines in a picture of {width} x {height} pixels, "
                f"more than can be drawn; make it smaller (at most {MOST_PIXELS:,} pixels)"
            )
        return height, width

    def ids(self, index: int) -> np.ndarray:
        """Class ids (H, W) uint8 of picture `index`. Raises UserError for a bad outline."""
        shape = self._shapes[index]
        ids = np.full(shape, self._uncovered, np.uint8)
        where = f"{self._path}, picture {self.images[index].name}"
        drawn = []
        for class_id, outline in self._outlines[index]:
            mask = rasterize(outline, shape, where)
            drawn.append((-int(mask.sum()), class_id, np.packbits(mask)))
        for _, class_id, packed in sorted(drawn, key=lambda item: item[0]):
            ids.ravel()[np.unpackbits(packed, count=ids.size).view(bool)] = class_id
        return ids


def rasterize(outline: Any, shape: tuple[int, int], where: str) -> np.ndarray:
    """A COCO `segmentation` as a mask (H, W) bool: polygons or run lengths, plain or as text."""
    if isinstance(outline, Mapping):
        return _from_run_lengths(outline, shape, where)
    polygons = outline if isinstance(outline, list) else []
    if not polygons or not all(isinstance(each, list) and len(each) >= 6 for each in polygons):
        raise UserError(f"{where}: an annotation has no outline; draw polygons, not boxes")
    fine = np.zeros((_SCALE * shape[0], _SCALE * shape[1]), np.uint8)
    points = [np.round(_SCALE * _points(each, where) - 0.5).astype(np.int32) for each in polygons]
    if sum(map(len, points)) > _MOST_POINTS:
        raise UserError(f"{where}: an outline has more than {_MOST_POINTS:,} points")
    cv2.fillPoly(fine, points, 1)
    middle = slice(_SCALE // 2, None, _SCALE)
    return fine[middle, middle] > 0


def _points(polygon: list[Any], where: str) -> np.ndarray:
    """(N, 2) pixels of x, y, x, y ..."""
    try:
        points = np.array(polygon, np.float64)
        points = points.reshape(-1, 2 if points.ndim == 1 else 0)
    except (ValueError, TypeError, OverflowError):
        points = np.array([np.nan])
    if not (np.abs(points) <= _MOST_COORDINATE).all():  # not so with a nan
        raise UserError(f"{where}: an outline is no list of x, y, x, y ... in pixels")
    return points


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Mask (H, W) bool -> plain COCO run lengths."""
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"size": list(mask.shape), "counts": counts.tolist()}


def export_coco(
    pictures: Iterable[tuple[Path, np.ndarray]], file: Path, folder: Path | None = None
) -> int:
    """Write pictures (path, class ids (H, W)) as a COCO file; returns how many.

    One annotation per class and picture, exact run lengths; `unlabeled` is what none covers.
    Paths are written relative to the file where they lie below it, else to `folder`.
    """
    categories = [
        {"id": int(k), "name": CLASSES[k], "supercategory": "so101"}
        for k in ClassId
        if k != ClassId.UNLABELED
    ]
    images: list[dict[str, Any]] = []
    count = 0
    with written_whole(file, own=True) as temporary, open(temporary, "w") as stream:
        stream.write(json.dumps({"info": {"description": f"made with {MARK}"}})[:-1])
        stream.write(',\n"annotations": [')
        for number, (path, ids) in enumerate(pictures, start=1):
            for class_id in np.unique(ids[ids != ClassId.UNLABELED]).tolist():
                count += 1
                stream.write(",\n" if count > 1 else "\n")
                json.dump(_annotation(count, number, class_id, ids == class_id), stream)
            height, width = ids.shape
            images.append(
                {
                    "id": number,
                    "file_name": _relative(path, file.parent, folder or file.parent),
                    "width": width,
                    "height": height,
                }
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


def _relative(path: Path, *folders: Path) -> str:
    path = path.resolve()
    below = (folder.resolve() for folder in folders if path.is_relative_to(folder.resolve()))
    folder = next(below, None)
    return path.name if folder is None else path.relative_to(folder).as_posix()


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path, _MOST_BYTES, "COCO file")
    if not isinstance(content, dict):
        raise UserError(f"{path} is no COCO file: it has no 'images' and 'annotations'")
    return content


def _from_run_lengths(outline: Mapping[str, Any], shape: tuple[int, int], where: str) -> np.ndarray:
    height, width = shape
    pixels = height * width
    counts = outline.get("counts")
    if isinstance(counts, str) and len(counts) <= _LONGEST_COUNT * (pixels + 1):
        counts = _uncompressed(counts)
    try:
        lengths = np.array(counts)
    except (ValueError, TypeError, OverflowError):
        lengths = np.empty((0, 0))
    fills = (
        lengths.ndim == 1
        and lengths.dtype.kind == "i"
        and outline.get("size") == [height, width]
        and len(lengths) <= 2 * pixels + 2
        and bool(((lengths >= 0) & (lengths <= pixels)).all())
        and lengths.sum() == pixels
    )
    if not fills:
        raise UserError(f"{where}: run lengths do not fill its {width}x{height} pixels")
    covered = np.arange(len(lengths)) % 2 == 1
    return np.repeat(covered, lengths).reshape(width, height).T


def _uncompressed(text: str) -> list[int] | None:
    """Run lengths from COCO's text form: 5 bits a character, from the third on as differences.

    None where it holds other characters or a number that no picture needs.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 5 * _LONGEST_COUNT:
            return None
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:  # negative
            value |= -1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts
