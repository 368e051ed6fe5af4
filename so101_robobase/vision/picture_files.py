"""Pictures in files: the one place that decodes them, within limits, and one that writes PNG."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from robobase.errors import UserError
from robobase.reading import MIB, read_bytes
from so101_robobase.base.files import MARK, written_whole

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
MOST_PIXELS = 2**24
"""16.8 million, 4096 x 4096: what a picture may unpack to."""

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")  # Pillow would hand PostScript to Ghostscript
_MOST_BYTES = 128 * MIB
_MOST_PARTS = 10_000  # chunks of a PNG (8 kB each, mostly), segments of a JPEG
_MOST_SCANS = 100  # of a JPEG; a progressive one has about 10, and each goes over all pixels
_WITH_LENGTH = {  # second bytes of the JPEG markers that a length follows
    bytes([kind]) for kind in (*range(0xC0, 0xD0), *range(0xDB, 0xDE), *range(0xE0, 0xF0), 0xFE)
} - {b"\xc8", b"\xcc"}
_HEADER = 33  # bytes of a PNG before its first other chunk


def read_picture(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 BGR as stored (no EXIF turning). UserError if it is no whole picture."""
    image = _decoded(path, "picture")
    try:
        return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
    except (OSError, ValueError, MemoryError) as error:
        raise UserError(f"picture {path} cannot be turned into colours; replace it") from error


def read_mask(path: Path) -> np.ndarray:
    """(H, W) int ids or (H, W, 3) uint8 RGB colours as the file holds them; indices of a palette.

    Raises UserError if the file is no whole picture.
    """
    image = _decoded(path, "mask")
    colours = image.mode in ("RGB", "RGBA", "CMYK", "YCbCr", "LA", "PA")
    try:
        return np.asarray(image.convert("RGB")) if colours else np.asarray(image).astype(int)
    except (OSError, ValueError, MemoryError) as error:
        raise UserError(f"mask {path} cannot be turned into ids; replace it") from error


def write_png(path: Path, picture: np.ndarray, own: bool = False) -> None:
    """Write (H, W) uint8 or (H, W, 3) uint8 BGR, marked as ours; `own` as of `written_whole`."""
    content = cv2.imencode(".png", picture)[1].tobytes()
    with written_whole(path, own) as partial:
        partial.write_bytes(content[:_HEADER] + _mark() + content[_HEADER:])


def _decoded(path: Path, what: str) -> Image.Image:
    content = read_bytes(path, _MOST_BYTES, what, "give PNG, JPEG, BMP or WebP files")
    if _is_laborious(content):
        raise UserError(f"{what} {path} is in more pieces than pictures are; save it anew")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's own, larger limit
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
        if 0 < image.width * image.height <= MOST_PIXELS:
            image.load()
            return image
    except Image.DecompressionBombError:
        pass  # refused below
    except Exception as error:  # Pillow's decoders raise of all kinds
        raise UserError(
            f"{what} {path} is broken or no PNG, JPEG, BMP or WebP; replace it or leave it out"
        ) from error
    raise UserError(
        f"{what} {path} has more than {MOST_PIXELS / 1e6:.1f} million pixels; make it smaller"
    )


def _is_laborious(content: bytes) -> bool:
    """Whether a PNG or JPEG has so many parts that to decode them takes minutes, or hours."""
    if content.startswith(b"\xff\xd8"):
        # Within a scan 0xFF is escaped.
        return content.count(b"\xff\xda") > _MOST_SCANS or _too_many(content, 2, _segment)
    return content.startswith(b"\x89PNG") and _too_many(content, 8, _chunk)


def _too_many(content: bytes, start: int, end_of: Callable[[bytes, int], int | None]) -> bool:
    at: int | None = start
    for _ in range(_MOST_PARTS):
        if at is None or at >= len(content):
            return False
        at = end_of(content, at)
    return True


def _chunk(content: bytes, at: int) -> int | None:
    """Where the chunk of a PNG ends that begins at `at`."""
    return at + 12 + int.from_bytes(content[at : at + 4], "big")


def _segment(content: bytes, at: int) -> int | None:
    """Where the segment of a JPEG's head ends that begins at `at`; None at the first scan.

    Filling and junk, which Pillow goes through byte by byte, are segments of one byte.
    """
    first, kind = content[at], content[at + 1 : at + 2]
    if first == 0xFF and kind == b"\xda":
        return None
    if first == 0xFF and kind in _WITH_LENGTH:
        return at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at + 1


def _mark() -> bytes:
    """A PNG text chunk that names us."""
    body = b"tEXtSoftware\0" + MARK.encode()
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
