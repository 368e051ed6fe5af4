"""Where pictures come from: one file, a folder of them, a video, a camera."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from robobase.errors import UserError
from so101_robobase.perception.folder import read_picture

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")

_CAMERA_FPS = 30.0  # assumed where a camera does not say


@dataclass(frozen=True)
class Source:
    """Frames in their order.

    Attributes:
        name: what output is named after.
        frames: names and pictures (H, W, 3) uint8 BGR; opened while they are taken.
        fps: frames per second of a video or camera; None for single pictures.
        count: how many frames there are, None if nobody knows.
    """

    name: str
    frames: Iterator[tuple[str, np.ndarray]]
    fps: float | None = None
    count: int | None = None


def open_source(text: str) -> Source:
    """A camera's number (0, 1, ...) or a path to a picture, a video or a folder of pictures.

    Raises UserError if there is nothing of the kind. A broken picture, or a camera that is
    unplugged later, is met while frames are taken.
    """
    if text.isdecimal():
        return _camera(int(text))
    path = Path(text)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
        if not files:
            raise UserError(f"folder {path} holds no pictures ({', '.join(PICTURE_SUFFIXES)})")
        return Source(path.resolve().name, _pictures(files), count=len(files))
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; give a picture, a folder, a video or a camera's number"
        )
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return _video(path)
    return Source(path.stem, _pictures([path]), count=1)


def _pictures(files: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    for file in files:
        yield file.stem, read_picture(file)


def _video(path: Path) -> Source:
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise UserError(f"{path} is broken or no video; replace it")
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    fps = capture.get(cv2.CAP_PROP_FPS) or _CAMERA_FPS
    return Source(path.stem, _captured(capture, None), fps, count if count > 0 else None)


def _camera(index: int) -> Source:
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)  # silent: our line says it all
    capture = cv2.VideoCapture(index)
    cv2.setLogLevel(level)
    if not capture.isOpened():
        raise UserError(f"camera {index} cannot be opened; plug it in, or give another number")
    fps = capture.get(cv2.CAP_PROP_FPS)
    name = f"camera_{index}"
    return Source(name, _captured(capture, f"camera {index}"), fps if fps > 0 else _CAMERA_FPS)


def _captured(capture: cv2.VideoCapture, camera: str | None) -> Iterator[tuple[str, np.ndarray]]:
    """Frames until the video ends; a camera has no end, so its silence is an error."""
    number = 0
    try:
        while True:
            good, frame = capture.read()
            if not good:
                break
            yield f"{number:06d}", frame
            number += 1
    finally:
        capture.release()
    if camera:
        raise UserError(
            f"{camera} gives no more pictures after {number}; check its cable, then start again"
        )
