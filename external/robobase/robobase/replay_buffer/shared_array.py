"""Arrays whose memory all processes that receive them share, in RAM or in a file on disk."""

import errno
import mmap
import os
import shutil
import tempfile
from math import prod
from multiprocessing import reduction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from robobase.errors import UserError
from robobase.memory import GIB, available_memory


class SharedArray:
    """A zero-filled numpy array, `.array`, that stays shared when sent to another process.

    With `directory` the memory is a nameless file there, gone when the last process that uses
    it ends, however it ends; without, it is anonymous memory. Pages take space once written.
    `reserve` rows of a file are allocated at once: a full disk is then a `UserError` here
    instead of a crash at some later write.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        directory: Path | None = None,
        reserve: int = 0,
    ):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._fd = _open_nameless(directory)
        os.ftruncate(self._fd, self._nbytes)
        if directory is not None and reserve:
            _allocate(self._fd, reserve * prod(self.shape[1:]) * self.dtype.itemsize, directory)
        self.array = self._map()

    @property
    def _nbytes(self) -> int:
        return max(1, prod(self.shape) * self.dtype.itemsize)

    def _map(self) -> np.ndarray:
        memory = mmap.mmap(self._fd, self._nbytes)
        return np.frombuffer(memory, self.dtype, prod(self.shape)).reshape(self.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {"shape": self.shape, "dtype": self.dtype, "fd": reduction.DupFd(self._fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.shape, self.dtype = state["shape"], state["dtype"]
        self._fd = state["fd"].detach()
        self.array = self._map()

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)


def _open_nameless(directory: Path | None) -> int:
    # memfd_create is not bounded by the size of /dev/shm, which is 64 MiB in many containers
    if directory is None and hasattr(os, "memfd_create"):
        return os.memfd_create("replay")
    try:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            return os.dup(file.fileno())
    except OSError as error:
        raise UserError(
            f"replay.save_dir={str(directory)!r} cannot hold the replay ({error.strerror}): "
            "choose a writable folder"
        ) from error


def _allocate(fd: int, nbytes: int, directory: Path) -> None:
    try:
        os.posix_fallocate(fd, 0, max(1, nbytes))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(
            f"replay.save_dir={str(directory)!r} has no room for the replay: lower replay.size "
            "or choose another disk"
        ) from error


def check_room(rows: int, bytes_per_row: int, directory: Path | None) -> None:
    """`UserError` if `rows` of that size cannot fit in memory (or on the disk of `directory`)."""
    if directory is None:
        free, where = available_memory(), "memory"
        advice = "or keep the replay on disk with replay.memory_mapped=true"
    else:
        existing = next(path for path in (directory, *directory.parents) if path.exists())
        free, where = shutil.disk_usage(existing).free, f"disk {str(directory)!r}"
        advice = "or choose another replay.save_dir"
    if free is not None and rows * bytes_per_row > free:
        raise UserError(
            f"replay.size={rows} needs {rows * bytes_per_row / GIB:.1f} GiB but {free / GIB:.1f} "
            f"GiB of {where} is free: use replay.size={free // bytes_per_row} or less, {advice}"
        )
