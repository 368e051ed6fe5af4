"""Files of `torch.save`, whoever wrote them: plain containers and tensors that are there in full.

Before torch sees a file its directory is looked through: a regular file, one directory that every
reader of ZIP finds, nothing packed, nothing twice, checksums right, and in the pickle no name but
those of tensors. `torch.load` with
`weights_only=True` runs no code then; what it returns is checked once more, so that no tensor is
larger than its data and no container deeper or larger than runs write.
"""

import io
import os
import pickletools
import re
import stat
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from robobase.errors import short
from robobase.reading import GIB, MIB, check_directory, reason

MOST = 64 * GIB
"""A replay buffer in a snapshot may be large; it stays on disk until it is used."""

_MOST_PICKLE = 8 * MIB  # snapshots of runs have 0.1
_MOST_STEPS = 2_000_000  # of the pickle
_MOST_RECORDS = 50_000
_MOST_DIRECTORY = 16 * MIB
_MOST_VALUES = 1_000_000
_MOST_DEPTH = 32
_MOST_BITS = 256  # of a whole number; generators have states of 128
_MOST_TEXT = 2**20
_RECORD = re.compile(
    r"data\.pkl|byteorder|version|\.format_version|\.storage_alignment|\.data/serialization_id|"
    r"data/\d{1,8}"
)
_NAMES = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|"
    r"torch (Float|Double|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage|"
    r"torch\.storage UntypedStorage|"
    r"torch (u?int(8|16|32|64)|float(16|32|64)|bfloat16|bool)|torch\._utils _rebuild_tensor_v3"
)
_DTYPES = {
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8,
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64,
}  # fmt: skip


class DamagedFileError(ValueError):
    """What is wrong with a file, on one line."""


def read(path: Path, most: int = MOST) -> Any:
    """Containers, tensors on the processor, texts and numbers of a file of at most `most` bytes.

    Tensors are mapped from the file, which must stay where it is as long as they are used.

    Raises:
        DamagedFileError: whatever is wrong with it. Nothing of it has been run.
    """
    size, records = _look_through(path, most)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        _check_content(content, size, records)
    except DamagedFileError:
        raise
    except Exception as error:  # of any kind, by what the file holds
        raise DamagedFileError(f"it cannot be read: {reason(error)}") from error
    return content


def check(path: Path, most: int = MOST) -> int:
    """The size of `path` in bytes, after everything but its tensors has been looked at.

    Raises DamagedFileError as `read` does.
    """
    return _look_through(path, most)[0]


def _look_through(path: Path, most: int) -> tuple[int, set[int]]:
    """Sizes in bytes of the file and of the data of its tensors, once all of it is in order."""
    try:
        # Opening a pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            size = _check_size(os.fstat(descriptor), most)
            check_directory(file, _MOST_RECORDS, _MOST_DIRECTORY)
            with zipfile.ZipFile(file) as archive:
                _check_records(archive, size)
                pickled = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
                _check_pickle(archive.read(pickled))
                records = {r.file_size for r in archive.infolist() if "/data/" in r.filename}
    except DamagedFileError:
        raise
    except Exception as error:  # zipfile and pickletools raise many kinds
        raise DamagedFileError(f"truncated or not of torch.save: {reason(error)}") from error
    return size, records


def _check_size(status: os.stat_result, most: int) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFileError("truncated or not of torch.save: no regular file")
    if status.st_size > most:
        raise DamagedFileError(f"it has {status.st_size:,} bytes, at most {most:,}")
    if status.st_size > GIB and status.st_blocks * 512 * 1000 < status.st_size:
        raise DamagedFileError("it is nearly all holes")
    return status.st_size


def _check_records(archive: zipfile.ZipFile, size: int) -> None:
    records = archive.infolist()
    if not records or min(record.header_offset for record in records) != 0:
        raise DamagedFileError(
            "truncated or not of torch.save: its first record is not at its start"
        )
    if any(record.orig_filename != record.filename for record in records):
        raise DamagedFileError("it is not of torch.save: it holds a record of two names")
    if not all(record.extra == b"" or _is_zip64(record.extra) for record in records):
        raise DamagedFileError("it is not of torch.save: it says more of a record than its size")
    names = [record.filename.partition("/") for record in records]
    if len({name[0] for name in names}) > 1:
        raise DamagedFileError("it is not of torch.save: it has several folders")
    # torch finds records by names in any case.
    if len({record.filename.lower() for record in records}) < len(records):
        raise DamagedFileError("it holds a record twice")
    for record, (_, _, name) in zip(records, names, strict=True):
        if not _RECORD.fullmatch(name):
            raise DamagedFileError(f"it is not of torch.save: it holds {short(name)}")
        if record.compress_type != zipfile.ZIP_STORED or record.compress_size != record.file_size:
            raise DamagedFileError(f"its record {short(name)} is packed, which torch never does")
        if name == "data.pkl" and record.file_size > _MOST_PICKLE:
            raise DamagedFileError(f"its data.pkl has {record.file_size:,} bytes")
    if sum(record.file_size for record in records) > size:
        raise DamagedFileError("its records are larger than the file")
    if "data.pkl" not in {name[2] for name in names}:
        raise DamagedFileError("it is not of torch.save: it holds no data.pkl")
    damaged = archive.testzip()  # torch itself checks no checksum
    if damaged:
        raise DamagedFileError(f"checksum of {short(damaged)} does not match")


def _is_zip64(extra: bytes) -> bool:
    return extra[:2] == b"\1\0" and extra[2:4] == (len(extra) - 4).to_bytes(2, "little")


def _check_pickle(content: bytes) -> None:
    """Refuse every name but those of tensors, and more steps than runs need."""
    marks = 0
    for step, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(content))):
        marks += opcode.name == "MARK"
        if step > _MOST_STEPS or marks > _MOST_STEPS // 4:
            raise DamagedFileError(f"its pickle has more than {_MOST_STEPS:,} steps")
        if opcode.name in ("GLOBAL", "STACK_GLOBAL", "INST") and not _NAMES.fullmatch(
            str(argument)
        ):
            raise DamagedFileError(f"it names code: {short(argument)}")


def _check_content(content: Any, size: int, records: set[int]) -> None:
    """Walks through containers; does not recurse, and ends in containers that hold themselves."""
    level, depth, seen, total = [content], 0, 0, 0
    while level:
        seen += len(level)
        if depth > _MOST_DEPTH or seen > _MOST_VALUES:
            raise DamagedFileError(
                f"its containers are deeper than {_MOST_DEPTH} or hold more than "
                f"{_MOST_VALUES:,} values"
            )
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, torch.Tensor):
                total += _checked_bytes(value, records)
            elif type(value) in (dict, OrderedDict):
                for key in value:
                    if type(key) not in (str, int) or (isinstance(key, str) and len(key) > 1000):
                        raise DamagedFileError(f"it has the key {short(key)}")
                deeper.extend(value.values())
            elif type(value) in (list, tuple):
                deeper.extend(value)
            elif type(value) is str:
                if len(value) > _MOST_TEXT:
                    raise DamagedFileError(f"it has a text of {len(value):,} characters")
            elif type(value) is int:
                if value.bit_length() > _MOST_BITS:
                    raise DamagedFileError(f"it has a number of {value.bit_length():,} bits")
            elif value is not None and type(value) not in (float, bool):
                raise DamagedFileError(f"it holds a {short(type(value).__name__)}")
        level, depth = deeper, depth + 1
    if total > 4 * size + MIB:  # a few tensors may share their data, not thousands
        raise DamagedFileError("its tensors are larger than the file")


def _checked_bytes(tensor: torch.Tensor, records: set[int]) -> int:
    """Size of a tensor, after a look at whether it is an ordinary one."""
    plain = type(tensor) is torch.Tensor and tensor.layout is torch.strided
    if not plain or tensor.device.type != "cpu" or tensor.dtype not in _DTYPES:
        raise DamagedFileError(
            f"it holds a tensor of a kind that runs do not write: {tensor.dtype}"
        )
    if tensor.requires_grad or tensor._backward_hooks or tensor.ndim > 16:
        raise DamagedFileError("it holds a tensor of a kind that runs do not write")
    size = tensor.numel() * tensor.element_size()
    # A mapped tensor could reach into the next record.
    if tensor.untyped_storage().nbytes() not in records:
        raise DamagedFileError("the data of a tensor is not there in full")
    if size > tensor.untyped_storage().nbytes():
        raise DamagedFileError(f"a tensor of shape {tuple(tensor.shape)} is larger than its data")
    return size
