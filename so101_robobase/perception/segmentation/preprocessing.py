"""A frame on its way into the network, and logits on their way back to a frame.

No torch here, so that other runtimes do exactly the same.
"""

from collections.abc import Sequence

import cv2
import numpy as np


def prepare(bgr: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(H, W, 3) uint8 -> (1, 3, *size) float32 of 0..255, what the network takes."""
    return np.ascontiguousarray(resized(bgr, size).transpose(2, 0, 1)[None], np.float32)


def resized(bgr: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(H, W, 3) uint8 -> (*size, 3) uint8, averaged over the area of each new pixel."""
    height, width = size
    if bgr.shape[:2] == (height, width):
        return bgr
    return cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA)


def ids_from_logits(logits: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(C, h, w) float32 -> (*size) uint8: the best class where each pixel of the frame is.

    Interpolated before the decision, so that edges of masks are finer than the logits' grid.
    """
    height, width = size
    best = _plane(logits[0], height, width)
    ids = np.zeros((height, width), np.uint8)
    for k in range(1, len(logits)):
        plane = _plane(logits[k], height, width)
        ids[plane > best] = k
        np.maximum(best, plane, out=best)
    return ids


def _plane(logits: np.ndarray, height: int, width: int) -> np.ndarray:
    if logits.shape == (height, width):
        return logits.copy()
    return cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)
