"""A contact sheet: labelled pictures, each beside its class ids in colours, above a legend."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from robobase.errors import UserError
from so101_robobase.perception.folder import LabelledPictures
from so101_robobase.vision import pictures
from so101_robobase.vision.observation import CLASSES, PALETTE, colorize_ids
from so101_robobase.vision.picture_files import write_png

COLUMNS = 4
HEIGHT = 150  # pixels of a picture on the sheet
_GAP = 6


def contact_sheet(pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> pictures.Image:
    """Pictures (H, W, 3) BGR and class ids (H, W) -> the sheet, (h, w, 3) uint8 RGB.

    The legend says for each class in how many of the pictures it is, and its share of the pixels.
    """
    tiles, counts = [], []
    for picture, ids in pairs:
        tiles.append(np.hstack([_small(picture[..., ::-1]), _small(colorize_ids(ids))]))
        counts.append(np.bincount(ids.ravel(), minlength=len(CLASSES)) / ids.size)
    if not tiles:
        raise UserError("a contact sheet needs at least one picture")
    width = max(tile.shape[1] for tile in tiles)  # pictures from elsewhere may differ in shape
    tiles = [_padded(tile, width) for tile in tiles]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    sheet = np.vstack(rows)
    return np.vstack([sheet, _legend(sheet.shape[1], np.array(counts))])


def write_contact_sheet(
    path: Path, pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
) -> None:
    """Write the contact sheet of `pairs` as a PNG file."""
    write_png(path, contact_sheet(pairs)[..., ::-1])


def evenly(data: LabelledPictures, number: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """At most `number` of the pairs of `data`, spread over all of it."""
    chosen = np.unique(np.linspace(0, len(data) - 1, min(number, len(data))).astype(int))
    return (data[int(index)] for index in chosen)


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    width = max(1, round(image.shape[1] * HEIGHT / image.shape[0]))
    size = (width, HEIGHT)
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)  # type: ignore


def _padded(tile: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    padding = ((_GAP, 0), (_GAP, width - tile.shape[1]), (0, 0))
    return np.pad(tile, padding)


def _legend(width: int, shares: np.ndarray) -> pictures.Image:
    """One line of coloured squares with names; `shares` (N, 6) are of each picture's pixels."""
    legend = pictures.strip(width, "")
    for k, name in enumerate(CLASSES):
        x, middle = _GAP + k * width // len(CLASSES), legend.shape[0] // 2
        colour = tuple(int(channel) for channel in PALETTE[k])
        cv2.rectangle(legend, (x, middle - 7), (x + 14, middle + 7), colour, -1)
        cv2.rectangle(legend, (x, middle - 7), (x + 14, middle + 7), (255, 255, 255), 1)
        seen, pixels = (shares[:, k] > 0).mean(), shares[:, k].mean()
        text = f"{name.replace('_', ' ')}: in {seen:.0%}, {pixels:.1%} of pixels"
        room = width // len(CLASSES) - 30
        words = pictures.strip(room, text)
        legend[:, x + 20 : x + 20 + room] = words
    return legend
