"""What lens and sensor do to a picture: distortion, exposure, white balance, blur, noise, JPEG.

Distortion moves class ids and depth as it moves colours; the rest changes colours alone.
"""

import functools
import zlib

import cv2
import numpy as np

from so101_robobase.sim.appearance import Look

_REFERENCE_HEIGHT = 480  # lines of the picture that a look's blur and noise are meant for
_LEAST_JPEG_HEIGHT = 240  # below, a camera's JPEG blocks have been averaged away

_MIDDLE_GREY = 118.0  # 18 % reflectance in sRGB
_GREATEST_GAIN = 4.0


def margin(k1: float, height: int, width: int) -> float:
    """How much wider than the camera's view must be drawn for `distort` to find every pixel."""
    return max(1.0, 1 + k1 * (1 + (width / height) ** 2))


def distorted(x: np.ndarray, y: np.ndarray, k1: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the ray through a distorted picture's point would meet an ideal picture.

    Both in half picture heights from the centre, or in any unit that `k1` is given in. One term
    of Brown's model (1966): k1 > 0 draws the corners in, as wide lenses do.
    """
    factor = 1 + k1 * (x * x + y * y)
    return x * factor, y * factor


def distort(picture: np.ndarray, k1: float, smooth: bool) -> np.ndarray:
    """(H, W[, 3]) ideal picture, drawn `margin` times wider, -> the lens's, of the same shape.

    `smooth` interpolates; otherwise each pixel is one of `picture`'s.
    """
    if k1 == 0:
        return picture
    interpolation = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    return cv2.remap(picture, *_distortion_map(*picture.shape[:2], k1), interpolation)


@functools.lru_cache(maxsize=16)
def _distortion_map(height: int, width: int, k1: float) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) float32 columns and rows to look up."""
    half = height / 2
    y, x = np.indices((height, width), np.float32)
    x, y = distorted((x + 0.5 - width / 2) / half, (y + 0.5 - half) / half, k1)
    scale = half / margin(k1, height, width)
    return (
        (x * scale + (width - 1) / 2).astype(np.float32),
        (y * scale + (height - 1) / 2).astype(np.float32),
    )


def photographed(picture: np.ndarray, look: Look, qpos: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB as drawn -> as the sensor of `look` would give it.

    Noise differs from state to state and is the same for the same `qpos` (J + 7,) and look.
    """
    height = len(picture)
    scale = height / _REFERENCE_HEIGHT  # a smaller picture is the average of a larger one
    if look.blur * scale > 0.2:  # a narrower kernel has one pixel
        picture = cv2.GaussianBlur(picture, (0, 0), look.blur * scale)
    gains = _exposure(picture, look) * np.array(look.white_balance)
    if (gains != 1).any():
        table = (np.arange(256)[:, None] * gains).clip(0, 255).round().astype(np.uint8)
        picture = cv2.LUT(picture, table[None])
    if look.noise > 0:
        rng = np.random.default_rng([look.seed, zlib.crc32(np.ascontiguousarray(qpos).tobytes())])
        noise = rng.standard_normal(picture.shape, np.float32) * np.float32(look.noise * scale)
        picture = cv2.add(picture, noise, dtype=cv2.CV_8U)
    if look.jpeg_quality is not None and height >= _LEAST_JPEG_HEIGHT:
        picture = _jpeg(picture, look.jpeg_quality)
    return picture


def _exposure(picture: np.ndarray, look: Look) -> float:
    if look.auto_exposure == 0:
        return look.exposure
    needed = _MIDDLE_GREY / max(float(picture.mean()), 1.0)
    return look.exposure * min(needed**look.auto_exposure, _GREATEST_GAIN)


def _jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, packed = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
