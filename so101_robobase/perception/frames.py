"""What a camera frame is."""

import re

import numpy as np

from robobase.errors import UserError


def check_frame(bgr: np.ndarray) -> np.ndarray:
    """`bgr` itself; UserError unless it is a colour picture as OpenCV gives them."""
    if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.dtype != np.uint8 or not bgr.size:
        raise UserError(
            f"a frame has shape {bgr.shape} and type {bgr.dtype}; networks take (H, W, 3) uint8"
        )
    return bgr


def parse_frame_size(text: str) -> tuple[int, int]:
    """(height, width) of "640x480", which is width x height as cameras are told."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise UserError(f"frame size '{text}' must be width x height in pixels, as in 640x480")
    return int(match[2]), int(match[1])
