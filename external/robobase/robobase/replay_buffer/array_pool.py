"""Recycled memory for sampled batches: fresh pages cost more than the copy into them."""

import weakref
from collections import defaultdict
from math import prod
from typing import Any

import numpy as np

_MAX_IDLE = 4  # buffers of one size kept for later


class ArrayPool:
    """Uninitialised arrays whose memory is used again once no view of them (or tensor) is left."""

    def __init__(self) -> None:
        self._idle: dict[int, list[np.ndarray]] = defaultdict(list)

    def __getstate__(self) -> dict[str, Any]:
        return {"_idle": defaultdict(list)}  # another process starts with a pool of its own

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Like `np.empty`."""
        nbytes = prod(shape) * dtype.itemsize
        idle = self._idle[nbytes]
        buffer = idle.pop() if idle else np.empty(nbytes, np.uint8)
        # Every view keeps `owner` alive (numpy shortens chains of views to the first array over
        # foreign memory), so its end is the end of all use of the buffer.
        owner = np.frombuffer(buffer.data, dtype)
        weakref.finalize(owner, self._take_back, buffer).atexit = False
        return owner.reshape(shape)

    def _take_back(self, buffer: np.ndarray) -> None:
        idle = self._idle[buffer.nbytes]
        if len(idle) < _MAX_IDLE:
            idle.append(buffer)
