"""Records what an environment renders and writes it as a video."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np

from robobase.envs.vector_compat import is_vector


class VideoRecorder:
    """Collects frames of `env.render()`; of a vector environment those of sub-environment 0.

    Args:
        save_dir: folder for the videos, created if needed; None switches recording off.
        render_size: frames lower than this many pixels are enlarged by a whole factor on saving,
            so that a video of an 84×84 observation can be looked at.
        fps: frames per second of the video.

    Attributes:
        frames: the frames since `init`, each `(H, W, 3)` uint8.
    """

    def __init__(self, save_dir: Path | None, render_size: int = 256, fps: int = 20):
        if save_dir is not None:
            save_dir = Path(save_dir)
            save_dir.mkdir(parents=True, exist_ok=True)
        self.save_dir = save_dir
        self.render_size = render_size
        self.fps = fps
        self.enabled = False
        self.frames: list[np.ndarray] = []

    def init(self, env: Any, enabled: bool = True) -> None:
        """Start a new video with the present frame."""
        self.frames = []
        self.enabled = enabled and self.save_dir is not None
        self.record(env)

    def record(self, env: Any) -> None:
        """Append the present frame."""
        if not self.enabled:
            return
        frame = env.render()
        if frame is not None and is_vector(env):
            frame = frame[0]
        if frame is not None:
            self.frames.append(np.array(frame))

    def save(self, file_name: str) -> None:
        """Write the frames to `<save_dir>/<file_name>`; the file appears only when complete."""
        if not self.enabled or not self.frames:
            return
        assert self.save_dir is not None
        factor = max(1, self.render_size // self.frames[0].shape[0])
        enlarged = (frame.repeat(factor, axis=0).repeat(factor, axis=1) for frame in self.frames)
        write_video(self.save_dir / file_name, enlarged, self.fps)


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Encode `frames`, each `(H, W, 3)` uint8, as H.264; the file appears only when complete."""
    temporary = path.with_stem(f".{path.stem}.part")
    try:
        with video_writer(temporary, fps) as append:
            for frame in frames:
                append(frame)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def video_writer(
    path: Path, fps: float, output_params: Iterable[str] = ()
) -> Iterator[Callable[[np.ndarray], Any]]:
    """Appends frames, `(H, W, 3)` uint8, to an H.264 video in `path`; the first makes the file.

    Raises:
        OSError: with number and file, as of any other file that cannot be written.
    """
    # macro_block_size=1: imageio would otherwise rescale to multiples of 16.
    options: dict[str, Any] = {"macro_block_size": 1, "output_params": list(output_params)}
    writer: Any = imageio.get_writer(path, fps=fps, **options)
    try:
        try:
            yield lambda frame: writer.append_data(_even(frame))
        finally:
            writer.close()  # imageio's own context manager leaves ffmpeg running on an error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _cause(path) from error


def _cause(path: Path) -> OSError:
    """Why `path` could not be written: ffmpeg says so on the terminal alone."""
    try:
        with open(path, "ab") as file:
            file.write(bytes(2**20))
    except OSError as error:
        return OSError(error.errno, error.strerror, str(path))
    return OSError(errno.EIO, "ffmpeg failed", str(path))


def _even(frame: np.ndarray) -> np.ndarray:
    """`frame` with its last row and column repeated where their number is odd (H.264 needs it)."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
