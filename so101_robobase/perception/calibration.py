"""From a network's measured mistakes to the figures of `sim.corruption` that make as many."""

from dataclasses import dataclass

import cv2
import numpy as np

from so101_robobase.perception.segmentation.metrics import Confusion
from so101_robobase.sim.corruption import OBJECTS, CorruptionConfig, IdCorruption

EDGE = 2
"""Pixels: a mistake this near to an edge between classes counts as a wavering edge."""
SEEN = 20
"""Pixels that an object must have in a picture before lacking it counts as missing."""
MISSED = 0.1
"""Share of an object's pixels; where fewer are found, it is missing."""
_HALVINGS = 12
_QUANTILES = 21
_WORST = 0.95
"""Quantile of the pictures. Those beyond it count as if at it: the worst are often wrong nearly
everywhere, and a policy can learn nothing from them."""


@dataclass(frozen=True)
class Mistakes:
    """Where predicted class ids differ from the true ones.

    Attributes:
        confusion: (6, 6) share of true class (row) that is taken for a class (column).
        near_edges: share of the pixels within `EDGE` of an edge that are wrong.
        elsewhere: (K,) wrong pixels away from edges of every frame that misses nothing.
        missing: share of the objects (cube, fingers) in view that are missing.
    """

    confusion: np.ndarray
    near_edges: float
    elsewhere: np.ndarray
    missing: float


def measure(true: np.ndarray, predicted: np.ndarray) -> Mistakes:
    """Compare class ids (N, H, W) uint8 of the same pictures."""
    pairs = Confusion().add(true, predicted).matrix
    confusion = pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1)
    seen, missed = _objects(true, predicted)
    wrong = true != predicted
    near = _near_edges(true)
    complete = ~missed.any(axis=1)
    return Mistakes(
        confusion=confusion,
        near_edges=float(wrong[near].mean()) if near.any() else 0.0,
        elsewhere=(wrong & ~near)[complete].sum(axis=(1, 2)),
        missing=float(missed.sum() / max(seen.sum(), 1)),
    )


def calibrate(true: np.ndarray, mistakes: Mistakes) -> dict[str, object]:
    """Figures for `CorruptionConfig` that make `mistakes` in the pictures `true` (N, H, W).

    Episodes draw boundary and missing from nothing to these figures, so that their mean is what
    was measured. Blobs are spread over episodes as they were over pictures, each of another scene,
    up to the quantile `_WORST`.
    """
    low, high = CorruptionConfig.blob_radius
    blob_area = np.pi * (low**2 + low * high + high**2) / 3
    return {
        "boundary": round(_boundary(true, mistakes.near_edges), 3),
        "blobs": np.round(_quantiles(mistakes.elsewhere) / blob_area, 3).tolist(),
        "missing": round(min(2 * mistakes.missing, 1.0), 4),
        "confusion": np.round(mistakes.confusion, 5).tolist(),
    }


def _quantiles(values: np.ndarray) -> np.ndarray:
    """`values` (K,) at evenly spaced quantiles, none above `_WORST`; zeros where there are none."""
    if len(values) == 0:
        return np.zeros(2)
    return np.quantile(values, np.minimum(np.linspace(0, 1, _QUANTILES), _WORST))


def _boundary(true: np.ndarray, wanted: float) -> float:
    """Shift of edges, in pixels, that makes a share `wanted` of the pixels near edges wrong."""
    keys, steps = np.arange(len(true)), np.zeros(len(true), np.int64)
    near = _near_edges(true)
    low, high = 0.0, 2.0 * EDGE
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        only_edges = CorruptionConfig(boundary=middle, blobs=0, missing=0, coarseness=1)
        wrong = IdCorruption(only_edges)(true, keys, steps) != true
        if near.any() and wrong[near].mean() < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _objects(true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which objects are in view, and which of these are missing, (N, 3) bool each."""
    pixels = np.stack([(true == thing).sum(axis=(1, 2)) for thing in OBJECTS], axis=1)
    both = [((true == thing) & (predicted == thing)).sum(axis=(1, 2)) for thing in OBJECTS]
    seen = pixels >= SEEN
    return seen, seen & (np.stack(both, axis=1) < MISSED * pixels)


def _near_edges(ids: np.ndarray) -> np.ndarray:
    """(N, H, W) bool: another class within `EDGE` pixels."""
    window = np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)
    return np.stack([cv2.dilate(picture, window) != cv2.erode(picture, window) for picture in ids])
