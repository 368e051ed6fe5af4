"""Variations of labelled pictures that a camera could have made.

No mirroring: the two fingers differ, and a mirrored gripper would carry the wrong labels.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np

from robobase.settings.fields import check_fields
from robobase.settings.kinds import Items, Number, Whole
from robobase.settings.kinds import Range as bounds
from so101_robobase.perception.segmentation.losses import IGNORED

_GREY = (114, 114, 114)  # of what lies outside the frame or is cut out


class Edge:
    """Pixels along an edge that a network halves five times."""

    def __call__(self, value: Any) -> int:
        edge = Whole(32, 4096)(value)
        if edge % 32:
            raise ValueError
        return edge

    def __str__(self) -> str:
        return "a multiple of 32 from 32 to 4,096"


PICTURE = Items(Edge(), 2, 2)
"""[height, width]."""


@dataclass(frozen=True)
class AugmentationConfig:
    """Ranges are [lowest, highest] of a uniform draw; a probability is that per picture.

    Attributes:
        crop: [height, width] of what training sees of a picture, pixels; at most `model.size`.
        scale: enlargement before cropping.
        rotation: degrees to either side.
        brightness: share of full scale added, to either side.
        contrast, saturation, gamma: factors (gamma is an exponent).
        white_balance: gain of each colour differs from 1 by at most this.
        hue: degrees to either side.
        colour_probability: of hue and saturation together.
        blur, noise, jpeg: standard deviation in pixels, that in grey levels, quality 0 to 100.
        cutout: edge of the patches as a share of the crop's height, up to `cutout_patches`.
    """

    enabled: bool
    crop: Annotated[tuple[int, int], PICTURE]
    scale: Annotated[tuple[float, float], bounds(Number(above=0, most=20))]
    rotation: Annotated[float, Number(0, 180)]
    brightness: Annotated[float, Number(0, 1)]
    contrast: Annotated[tuple[float, float], bounds(Number(0, 20))]
    gamma: Annotated[tuple[float, float], bounds(Number(0, 20))]
    white_balance: Annotated[float, Number(0, 1)]
    hue: Annotated[float, Number(0, 180)]
    saturation: Annotated[tuple[float, float], bounds(Number(0, 20))]
    colour_probability: Annotated[float, Number(0, 1)]
    blur: Annotated[tuple[float, float], bounds(Number(0, 50))]
    blur_probability: Annotated[float, Number(0, 1)]
    noise: Annotated[tuple[float, float], bounds(Number(0, 255))]
    noise_probability: Annotated[float, Number(0, 1)]
    jpeg: Annotated[tuple[float, float], bounds(Number(0, 100))]
    jpeg_probability: Annotated[float, Number(0, 1)]
    cutout: Annotated[tuple[float, float], bounds(Number(0, 1))]
    cutout_patches: Annotated[int, Whole(0, 1000)]
    cutout_probability: Annotated[float, Number(0, 1)]

    def __post_init__(self) -> None:
        check_fields(self, "augmentation")


def augment(
    picture: np.ndarray, ids: np.ndarray, config: AugmentationConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One variation: picture (*crop, 3) uint8 BGR and class ids (*crop) uint8, some `IGNORED`.

    Args:
        picture: (H, W, 3) uint8 BGR.
        ids: (H, W) uint8 class ids.
        config: what may vary; if not enabled, the centre is cut out and nothing else is done.
        rng: decides everything; the inputs are left as they are.
    """
    matrix = _placement(picture.shape[:2], config, rng)
    height, width = config.crop
    picture = cv2.warpAffine(
        picture, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT, borderValue=_GREY,
    )  # fmt: skip
    ids = cv2.warpAffine(
        ids, matrix, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT, borderValue=(IGNORED,),
    )  # fmt: skip
    if not config.enabled:
        return picture, ids
    if rng.random() < config.colour_probability:
        picture = _hue_and_saturation(picture, config, rng)
    picture = _tones(picture, config, rng)
    if rng.random() < config.blur_probability:
        sigma = rng.uniform(*config.blur)
        picture = cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0.05 else picture
    if rng.random() < config.noise_probability:
        picture = _noise(picture, rng.uniform(*config.noise), rng)
    if rng.random() < config.jpeg_probability:
        picture = _jpeg(picture, int(rng.uniform(*config.jpeg)))
    if rng.random() < config.cutout_probability:
        _cut_out(picture, ids, config, rng)
    return picture, ids


def _placement(
    shape: tuple[int, ...], config: AugmentationConfig, rng: np.random.Generator
) -> np.ndarray:
    """(2, 3) map from the crop's pixels to those of the picture: enlarge, turn, move."""
    (height, width), (crop_height, crop_width) = shape[:2], config.crop
    scale, angle, x, y = 1.0, 0.0, 0.0, 0.0
    if config.enabled:
        scale = rng.uniform(*config.scale)
        angle = np.deg2rad(rng.uniform(-config.rotation, config.rotation))
        # The crop wanders as far as it stays within the frame.
        x, y = (
            rng.uniform(-1, 1) * abs(length - crop / scale) / 2
            for length, crop in ((width, crop_width), (height, crop_height))
        )
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    centre = np.array([(width - 1) / 2 + x, (height - 1) / 2 + y])
    crop_centre = np.array([(crop_width - 1) / 2, (crop_height - 1) / 2])
    return np.hstack([turn, (centre - turn @ crop_centre)[:, None]])


def _tones(picture: np.ndarray, config: AugmentationConfig, rng: np.random.Generator) -> np.ndarray:
    """Gamma, contrast, brightness and the gain of each colour in one look-up table."""
    level = (np.arange(256) / 255.0) ** rng.uniform(*config.gamma)
    level = (level - 0.5) * rng.uniform(*config.contrast) + 0.5
    level += rng.uniform(-config.brightness, config.brightness)
    gains = 1 + rng.uniform(-config.white_balance, config.white_balance, 3)
    table = np.clip(level[:, None] * gains * 255 + 0.5, 0, 255).astype(np.uint8)
    return cv2.LUT(picture, table[None])


def _hue_and_saturation(
    picture: np.ndarray, config: AugmentationConfig, rng: np.random.Generator
) -> np.ndarray:
    hue, saturation, value = cv2.split(cv2.cvtColor(picture, cv2.COLOR_BGR2HSV))
    turn = rng.uniform(-config.hue, config.hue) / 2  # OpenCV counts hue in steps of 2 degrees
    hue = cv2.LUT(hue, ((np.arange(256) + round(turn)) % 180).astype(np.uint8))
    factor = rng.uniform(*config.saturation)
    saturation = cv2.LUT(saturation, np.clip(np.arange(256) * factor, 0, 255).astype(np.uint8))
    return cv2.cvtColor(cv2.merge([hue, saturation, value]), cv2.COLOR_HSV2BGR)


def _noise(picture: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(picture.shape, dtype=np.float32) * deviation
    return np.clip(picture + noise + 0.5, 0, 255).astype(np.uint8)


def _jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


def _cut_out(
    picture: np.ndarray, ids: np.ndarray, config: AugmentationConfig, rng: np.random.Generator
) -> None:
    """Greys out patches in place; what was under them is asked of nobody."""
    height, width = ids.shape
    for _ in range(rng.integers(1, config.cutout_patches + 1)):
        edges = rng.uniform(*config.cutout, 2) * height
        rows, columns = (
            slice(int(start), int(start + edge))
            for start, edge in zip(rng.uniform(0, (height, width)), edges, strict=True)
        )
        picture[rows, columns] = _GREY
        ids[rows, columns] = IGNORED
