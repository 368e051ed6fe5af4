"""Pictures for people: camera tiles in a grid, coloured class ids and disparity, legends.

Every picture is an array (H, W, 3) of uint8, RGB. Nothing here knows of simulators or policies.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from so101_robobase.vision.kinds import KINDS, Source
from so101_robobase.vision.observation import CLASSES, PALETTE, colorize_ids

Image = NDArray[np.uint8]

STRIP_HEIGHT = 32  # px of one line of text below a picture
_LEAST_WITH_KEY = 240  # px, edge of a panel on which a key can be read
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE = (255, 255, 255)
_BLACK = (0, 0, 0)
_DARK = 24


def grid(tiles: Sequence[Image]) -> Image:
    """Four tiles as 2x2, any other number as a row. All tiles share one shape (H, W, 3)."""
    if len(tiles) == 4:
        return np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])
    return np.hstack(tiles)


def beside(cameras: Image, panels: Sequence[Image]) -> Image:
    """Puts panels, all of one shape, to the right of the camera grid.

    They fill its height column by column, what is left over is dark.
    """
    if not panels:
        return cameras
    rows = cameras.shape[0] // panels[0].shape[0]
    empty = np.full_like(panels[0], _DARK)
    padded = [*panels, *[empty] * (-len(panels) % rows)]
    columns = [np.vstack(padded[k : k + rows]) for k in range(0, len(padded), rows)]
    return np.hstack([cameras, *columns])


def caption(tile: Image, text: str) -> Image:
    """A copy of `tile` with `text` in its upper left corner, legible on any background."""
    tile = np.ascontiguousarray(tile).copy()
    for colour, thickness in ((_BLACK, 3), (_WHITE, 1)):
        cv2.putText(tile, text, (6, 16), _FONT, 0.42, colour, thickness, cv2.LINE_AA)
    return tile


def segmentation(ids: NDArray[np.uint8], size: int) -> Image:
    """Class ids (H, W) in the colours of `observation.PALETTE`; (size, size, 3)."""
    return _enlarge(colorize_ids(ids), size)


def disparity(values: NDArray[np.uint8], size: int) -> Image:
    """Colours disparity (H, W), 0 far to 255 near, dark to bright; (size, size, 3)."""
    coloured = cv2.applyColorMap(np.ascontiguousarray(values), cv2.COLORMAP_INFERNO)
    return _enlarge(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), size)


def observation_panels(frame: NDArray[np.uint8], kind: str, size: int) -> list[Image]:
    """What the policy saw: `frame` (C, H, W) of an observation `kind` as captioned panels.

    One for each of its sources; a kind without a picture gives none.
    """
    panels, first = [], 0
    for source in KINDS[kind].sources:
        part = frame[first : first + source.channels]
        first += source.channels
        if source is Source.IDS:
            panel = caption(_with_class_key(segmentation(part[0], size)), "segmentation")
        elif source is Source.DISPARITY:
            panel = caption(_with_disparity_key(disparity(part[0], size)), "disparity")
        else:
            panel = caption(_enlarge(part.transpose(1, 2, 0), size), "observation")
        panels.append(panel)
    return panels


def strip(width: int, text: str, height: int = STRIP_HEIGHT) -> Image:
    """One dark line of text, made smaller where it is too long; (height, width, 3)."""
    image = np.full((height, width, 3), _DARK, np.uint8)
    (text_width, _), _ = cv2.getTextSize(text, _FONT, 0.45, 1)
    scale = 0.45 * min(1.0, (width - 16) / text_width)
    cv2.putText(image, text, (8, height // 2 + 5), _FONT, scale, _WHITE, 1, cv2.LINE_AA)
    return image


def _enlarge(image: NDArray[Any], size: int) -> Image:
    return cv2.resize(  # type: ignore[return-value]
        np.ascontiguousarray(image), (size, size), interpolation=cv2.INTER_NEAREST
    )


def _with_class_key(panel: Image) -> Image:
    """Names the colours of the classes in a bar of two lines along the bottom of `panel`."""
    size = panel.shape[1]
    if size < _LEAST_WITH_KEY:
        return panel
    panel, unit = _with_bar(panel, lines=2)
    columns = len(CLASSES) // 2
    for k, name in enumerate(CLASSES):
        x = 4 * unit + k % columns * size // columns
        y = size - (17 - 11 * (k // columns)) * unit
        colour = tuple(int(c) for c in PALETTE[k])
        cv2.rectangle(panel, (x, y - 3 * unit), (x + 6 * unit, y + 3 * unit), colour, -1)
        cv2.rectangle(panel, (x, y - 3 * unit), (x + 6 * unit, y + 3 * unit), _WHITE, 1)
        _small_text(panel, name.replace("_", " "), (x + 10 * unit, y + 3 * unit), unit)
    return panel


def _with_disparity_key(panel: Image) -> Image:
    """Draws the colour scale, far to near, in a bar along the bottom of `panel`."""
    size = panel.shape[1]
    if size < _LEAST_WITH_KEY:
        return panel
    panel, unit = _with_bar(panel, lines=1)
    ramp = np.tile(np.linspace(0, 255, size // 2).astype(np.uint8), (6 * unit, 1))
    bar = cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)[..., ::-1]
    y, x = size - 9 * unit, size // 4
    panel[y : y + bar.shape[0], x : x + bar.shape[1]] = bar
    for text, at in (("far", x - 22 * unit), ("near", x + bar.shape[1] + 5 * unit)):
        _small_text(panel, text, (at, y + 6 * unit), unit)
    return panel


def _with_bar(panel: Image, lines: int) -> tuple[Image, int]:
    """A copy of `panel` with its bottom darkened for a key, and the key's unit in pixels."""
    unit = panel.shape[1] // _LEAST_WITH_KEY
    panel = panel.copy()
    panel[-(2 + 11 * lines) * unit :] //= 3  # the picture still shows through
    return panel, unit


def _small_text(panel: Image, text: str, at: tuple[int, int], unit: int) -> None:
    cv2.putText(panel, text, at, _FONT, 0.3 * unit, _WHITE, 1, cv2.LINE_AA)
