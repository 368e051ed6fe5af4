"""Procedural pictures for the table and for what is behind everything.

Each is drawn from its `Surface` alone. Table pictures repeat without a seam.
"""

import functools
from collections.abc import Callable

import cv2
import numpy as np

from so101_robobase.sim.appearance import Surface

TABLE_PIXELS = 512
BACKGROUND_PIXELS = 128

_Draw = Callable[[np.random.Generator, int], np.ndarray]


@functools.lru_cache(maxsize=32)
def table_picture(surface: Surface) -> np.ndarray:
    """(512, 512, 3) uint8, RGB; one repetition of the pattern."""
    rng = np.random.default_rng(surface.seed)
    mixture = _TABLE[surface.pattern](rng, TABLE_PIXELS)
    mixture += 0.15 * (_fractal(rng, TABLE_PIXELS, 4) - 0.5)  # no real surface is quite even
    if rng.random() < 0.5:
        mixture = mixture.T
    return _mix(mixture, surface)


@functools.lru_cache(maxsize=32)
def background_picture(surface: Surface) -> np.ndarray:
    """(6, 128, 128, 3) uint8, RGB: the faces of a cube around the scene, out of focus."""
    rng = np.random.default_rng(surface.seed)
    size = BACKGROUND_PIXELS
    faces = np.stack(
        [_mix(_BACKGROUND[surface.pattern](rng, size), surface) for _ in range(6)]
    ).astype(np.float32)
    if surface.pattern == "room":
        for face in faces:
            _furnish(face, rng)
    sigma = rng.uniform(0.3, 3)
    return np.stack([cv2.GaussianBlur(face, (0, 0), sigma) for face in faces]).astype(np.uint8)


def _mix(mixture: np.ndarray, surface: Surface) -> np.ndarray:
    """(S, S) parts of the second colour, 0 to 1 -> (S, S, 3) uint8."""
    first, second = (np.array(color, np.float32) * 255 for color in surface.colors)
    picture = first + mixture[..., None].astype(np.float32) * (second - first)
    return picture.clip(0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, size: int, rows: int, columns: int | None = None):
    """(size, size) smooth noise, 0 to 1, of `rows` x `columns` cells; repeats without a seam."""
    rows, columns = min(rows, size), min(columns or rows, size)
    cells = np.pad(rng.random((rows, columns), np.float32), 1, mode="wrap")
    scale = (size // columns, size // rows)
    whole = cv2.resize(
        cells,
        (cells.shape[1] * scale[0], cells.shape[0] * scale[1]),
        interpolation=cv2.INTER_LINEAR,
    )
    return whole[scale[1] : scale[1] + size, scale[0] : scale[0] + size].copy()


def _fractal(rng: np.random.Generator, size: int, rows: int, octaves: int = 4) -> np.ndarray:
    """Noise of several sizes, each half as strong as the coarser one before; 0 to 1."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        total += 0.5 ** (octave + 1) * _noise(rng, size, rows * 2**octave)
    return total / (1 - 0.5**octaves)


def _plain(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.full((size, size), 0.2 * rng.random(), np.float32)


def _checker(rng: np.random.Generator, size: int) -> np.ndarray:
    cells = np.indices((size, size)) // (size // rng.choice([2, 4, 8]))
    return (cells.sum(0) % 2).astype(np.float32)


def _stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    waves = int(rng.integers(2, 12))
    wave = np.sin(np.linspace(0, 2 * np.pi * waves, size, endpoint=False)) + rng.uniform(-0.7, 0.7)
    hard = rng.uniform(1, 8)
    return np.tile((0.5 + 0.5 * np.tanh(hard * wave)).astype(np.float32), (size, 1))


def _wood(rng: np.random.Generator, size: int) -> np.ndarray:
    """Planks along the rows, with rings that run along them."""
    num_planks = int(rng.choice([1, 2, 4]))
    width = size // num_planks
    wander = _noise(rng, size, 8, 2) + 0.3 * _noise(rng, size, 32, 4)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(3, 8) * wander)
    grain = _noise(rng, size, 256, 8)
    wood = 0.45 * rings + 0.4 * grain
    plank = np.arange(size) // width
    wood += (0.4 * rng.random(num_planks, np.float32) - 0.2)[plank][:, None]
    if num_planks > 1:
        wood[np.arange(size) % width < 3] = 1.3  # the joint
    return wood


def _blotches(rng: np.random.Generator, size: int) -> np.ndarray:
    fractal = _fractal(rng, size, int(rng.choice([4, 8, 16])), 5)
    return (2.5 * (fractal - 0.5) + 0.5).clip(0, 1)


def _speckle(rng: np.random.Generator, size: int) -> np.ndarray:
    """Grains, as in granite and terrazzo."""
    grains = _noise(rng, size, int(rng.choice([64, 128, 256])))
    return (grains > rng.uniform(0.5, 0.85)).astype(np.float32)


def _cloth(rng: np.random.Generator, size: int) -> np.ndarray:
    threads = int(rng.integers(32, 96))
    wave = np.sin(np.linspace(0, 2 * np.pi * threads, size, endpoint=False)).astype(np.float32)
    weave = 0.5 + 0.5 * np.outer(wave, wave)
    return 0.6 * weave + 0.4 * _fractal(rng, size, 8)


def _marble(rng: np.random.Generator, size: int) -> np.ndarray:
    veins = np.abs(np.sin(2 * np.pi * rng.uniform(1, 3) * _fractal(rng, size, 4, 5)))
    return (1 - veins) ** rng.uniform(1.5, 5)


def _gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    return np.tile(ramp if rng.random() < 0.5 else 1 - ramp, (1, size))


def _furnish(face: np.ndarray, rng: np.random.Generator) -> None:
    """Doors, shelves, windows, people: rectangles and discs on `face` (S, S, 3), in place."""
    size = len(face)
    for _ in range(int(rng.integers(2, 14))):
        shade = 255 * rng.random()
        color = (shade + 60 * rng.normal(size=3) * rng.random()).clip(0, 255).tolist()
        corner = rng.integers(0, size, 2)
        if rng.random() < 0.8:
            opposite = corner + rng.integers(4, size // 2, 2)
            cv2.rectangle(face, corner.tolist(), opposite.tolist(), color, -1)
        else:
            cv2.circle(face, corner.tolist(), int(rng.integers(2, size // 8)), color, -1)


_TABLE: dict[str, _Draw] = {
    "plain": _plain,
    "checker": _checker,
    "stripes": _stripes,
    "wood": _wood,
    "noise": _blotches,
    "speckle": _speckle,
    "cloth": _cloth,
    "marble": _marble,
}
_BACKGROUND: dict[str, _Draw] = {
    "plain": _plain,
    "gradient": _gradient,
    "room": _plain,
    "noise": _blotches,
    "stripes": _stripes,
}
