"""What a camera frame is."""

import numpy as np

from robobase.errors import UserError


def check_frame(bgr: np.ndarray) -> np.ndarray:
    """`bgr` itself; UserError unless it is a colour picture as OpenCV gives them."""
    if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.dtype != np.uint8 or not bgr.size:
        raise UserError(
            f"a frame has shape {bgr.shape} and type {bgr.dtype}; networks take (H, W, 3) uint8"
        )
    return bgr
