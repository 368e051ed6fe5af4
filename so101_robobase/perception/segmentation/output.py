"""Where pictures go: PNG files of a folder, or one video."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from robobase.video import video_writer
from so101_robobase.base.files import MARK, check_replaceable, checked_output
from so101_robobase.vision.picture_files import write_png

Write = Callable[[str, np.ndarray], None]
"""Takes a name and a picture: (H, W) uint8, or (H, W, 3) uint8 BGR."""


@contextlib.contextmanager
def picture_files(folder: Path) -> Iterator[Write]:
    """Writes every picture as `<name>.png` of `folder`; others than ours are not replaced."""

    def write(name: str, picture: np.ndarray) -> None:
        write_png(folder / f"{name}.png", picture, own=True)

    yield write


@contextlib.contextmanager
def video_file(path: Path, fps: float) -> Iterator[Write]:
    """Writes all pictures as frames of one H.264 video, which appears at the end of the block.

    What was taken until then is kept if the block ends with an error, as by an unplugged camera.
    """
    path = checked_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_stem(f".{path.stem}.part")
    temporary.unlink(missing_ok=True)  # a link in its place would be followed
    try:
        with video_writer(temporary, fps, ("-metadata", f"comment={MARK}")) as append:
            yield lambda _, picture: append(np.ascontiguousarray(picture[..., ::-1]))
    finally:
        if temporary.exists():
            check_replaceable(path, own=True)
            temporary.replace(path)
