"""Where pictures come from: one file, a folder of them, a video, a camera."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from robobase.errors import UserError
from so101_robobase.vision.picture_files import MOST_PIXELS, SUFFIXES, read_picture

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")

_CAMERA_FPS = 30.0  # assumed where a camera does not say
_MOST_FPS = 1000.0
_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # MP4 and MOV begin with one
_MAGIC = (*((4, atom) for atom in _ATOMS), (0, b"RIFF"), (0, b"\x1aE\xdf\xa3"))  # AVI, MKV


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
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not files:
            raise UserError(f"folder {path} holds no pictures ({', '.join(SUFFIXES)})")
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
    with open(path, "rb") as file:
        head = file.read(16)
    # FFmpeg goes by the content: a list of addresses would be opened, whatever its name.
    known = any(head[at : at + len(magic)] == magic for at, magic in _MAGIC)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with _silent():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG) if known else None
    if capture is None or not capture.isOpened():
        raise UserError(f"{path} is broken or no video (MP4, MOV, AVI, MKV, WebM); replace it")
    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    if not 0 < width * height <= MOST_PIXELS:
        raise UserError(
            f"{path} has frames of {width:.0f} x {height:.0f} pixels; 1 to {MOST_PIXELS:,} are read"
        )
    count, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    if not 0 < fps <= _MOST_FPS:
        fps = _CAMERA_FPS
    return Source(path.stem, _captured(capture, None), fps, int(count) if 0 < count < 1e9 else None)


def _camera(index: int) -> Source:
    with _silent():
        capture = cv2.VideoCapture(index)
    if not capture.isOpened():
        raise UserError(f"camera {index} cannot be opened; plug it in, or give another number")
    fps = capture.get(cv2.CAP_PROP_FPS)
    name = f"camera_{index}"
    return Source(name, _captured(capture, f"camera {index}"), fps if fps > 0 else _CAMERA_FPS)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """OpenCV says nothing: our line says it all."""
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)
    try:
        yield
    finally:
        cv2.setLogLevel(level)


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
