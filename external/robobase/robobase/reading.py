"""Files that may be a stranger's: regular ones, no larger than they may be, with nothing that runs.

Every reader here takes `what` the file is called in messages and a `remedy`, and raises a
`UserError` of one line for whatever is not as it should be. What the values mean is checked where
they are used.
"""

import csv
import io
import json
import math
import os
import stat
import struct
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import yaml

from robobase.errors import UserError

KIB, MIB, GIB = 2**10, 2**20, 2**30

MOST_DEPTH = 64
"""Lists and groups within one another in JSON and YAML."""

_WHOLE = 2**63  # numbers beyond are of no use, and some cannot be printed
_MOST_COLUMNS = 1000
_MOST_MEMBERS = 100  # arrays in an NPZ
_MOST_DIRECTORY = 64 * KIB  # of an NPZ
_ZIP_END, _ZIP64_LOCATOR, _ZIP64_END = 22, 20, 56  # bytes
_MOST_UNPACKED = GIB + GIB // 4  # bytes of a text and of what is made of it
_LONGEST_NUMBER = 400  # characters
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_bytes(path: Path, most: int, what: str = "file", remedy: str = "") -> bytes:
    """The content of a regular file of at most `most` bytes.

    Pipes, devices and folders are refused without being waited for or read.
    """
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
        # Without waiting: a pipe may stand there by now.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags) if regular else -1
    except (OSError, ValueError) as error:  # ValueError: a path that holds a NUL
        _refuse(path, what, f"cannot be read ({reason(error)})", remedy, error)
    if not regular:
        _refuse(path, what, "is no regular file", remedy)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if size > most:
            _refuse(path, what, f"has {_size(size)}, at most {_size(most)}", remedy)
        try:
            return file.read(size)  # no more, if it grows meanwhile
        except OSError as error:
            _refuse(path, what, f"cannot be read ({reason(error)})", remedy, error)


def read_text(path: Path, most: int = MIB, what: str = "file", remedy: str = "") -> str:
    """UTF-8, with or without a byte order mark, and without NUL."""
    try:
        text = read_bytes(path, most, what, remedy).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(path, what, "is no text (UTF-8)", remedy, error)
    if "\0" in text:
        _refuse(path, what, "is no text: it holds NUL", remedy)
    return text


def read_json(path: Path, most: int = MIB, what: str = "file", remedy: str = "") -> Any:
    """Plain containers, strings, finite and other floats, whole numbers below 2^63.

    A key that comes twice and nesting beyond `MOST_DEPTH` are refused.
    """
    text = read_text(path, most, what, remedy)
    try:
        return plain_json(text)
    except ValueError as error:
        _refuse(path, what, f"cannot be read as JSON ({reason(error)})", remedy, error)


def read_yaml(path: Path, most: int = MIB, what: str = "file", remedy: str = "") -> Any:
    """As `read_json`, of YAML; aliases, which can grow beyond all bounds, are refused too."""
    text = read_text(path, most, what, remedy)
    try:
        return plain_yaml(text)
    except ValueError as error:
        _refuse(path, what, f"cannot be read as YAML ({reason(error)})", remedy, error)


def read_csv(
    path: Path, most: int = 64 * MIB, what: str = "table", remedy: str = ""
) -> tuple[list[str], list[list[str]]]:
    """Columns and rows; a last line without its end, as a kill leaves it, is left out."""
    text = read_text(path, most, what, remedy)
    complete = text[: text.rfind("\n") + 1]
    try:
        _check_unpacked(4 * len(text), {",": 60, "\n": 150}, text)
        table = list(csv.reader(io.StringIO(complete, newline="")))
    except (csv.Error, ValueError) as error:
        _refuse(path, what, f"is no CSV table ({error})", remedy, error)
    columns = table[0] if table else []
    if len(columns) > _MOST_COLUMNS:
        _refuse(path, what, f"has {len(columns)} columns, at most {_MOST_COLUMNS}", remedy)
    if len(set(columns)) < len(columns):
        _refuse(path, what, "names a column twice", remedy)
    return columns, table[1:]


def read_npz(
    path: Path, most: int = 256 * MIB, what: str = "file", remedy: str = ""
) -> dict[str, np.ndarray]:
    """The arrays of an NPZ of at most `most` bytes, packed and unpacked; numbers and texts only.

    Sizes are checked before anything is unpacked.
    """
    content = read_bytes(path, most, what, remedy)
    try:
        return _arrays(content, most)
    except Exception as error:  # zipfile, zlib and NumPy raise of all kinds
        _refuse(path, what, f"cannot be read as NPZ ({reason(error)})", remedy, error)


def check_directory(file: BinaryIO, most_records: int, most_bytes: int) -> None:
    """Raise ValueError unless a ZIP has one small directory at its end, before that is read.

    Readers look for directories in ways of their own. What is checked by one and opened by another
    must leave them no choice: nothing after the end, nothing between the directory and its end.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != b"PK\3\4":
        raise ValueError("it is no ZIP file, or something stands before it")
    tail_size = min(size, _ZIP_END + _ZIP64_LOCATOR + _ZIP64_END)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    end = tail[-_ZIP_END:]
    if len(end) < _ZIP_END or end[:4] != b"PK\5\6" or end[-2:] != b"\0\0":
        raise ValueError("it is truncated: no directory at its end")
    directory_ends = size - _ZIP_END
    records, directory, start = struct.unpack("<HII", end[10:20])
    locator = tail[-_ZIP_END - _ZIP64_LOCATOR : -_ZIP_END]
    if locator[:4] == b"PK\6\7":  # large, and as torch always writes
        directory_ends -= _ZIP64_LOCATOR + _ZIP64_END
        large = tail[: -_ZIP_END - _ZIP64_LOCATOR]
        if len(large) < _ZIP64_END or locator[4:] != struct.pack("<IQI", 0, directory_ends, 1):
            raise ValueError("its directory is not where it should be")
        kind, length, _, _, disk, other_disk, here, records, directory, start = struct.unpack(
            "<4sQHHIIQQQQ", large
        )
        if (kind, length, disk, other_disk, here) != (b"PK\6\6", 44, 0, 0, records):
            raise ValueError("its directory is not where it should be")
    if records > most_records or directory > most_bytes:
        raise ValueError(f"it lists {records:,} records, at most {most_records:,}")
    if start + directory != directory_ends:
        raise ValueError("its directory is not where it should be")
    file.seek(0)


def plain_json(text: str) -> Any:
    """What the JSON `text` holds, within the limits of `read_json`. Raises ValueError."""
    # What a bracket or a comma of the text becomes, at least a few bytes more than CPython takes.
    _check_unpacked(sys.getsizeof(text), {"{": 260, "[": 110, ",": 60}, text)
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats)
    except RecursionError as error:
        raise ValueError(f"more than {MOST_DEPTH} levels") from error
    _check_plain(value)
    return value


def plain_yaml(text: str) -> Any:
    """What the YAML `text` holds, within the limits of `read_yaml`. Raises ValueError."""
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):  # without building anything
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it holds an alias (*)")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH:
                raise ValueError(f"more than {MOST_DEPTH} levels")
        value = yaml.load(text, Loader=_PlainLoader)  # a safe loader
    except ValueError:
        raise
    except Exception as error:  # PyYAML's constructors raise of all kinds
        raise ValueError(reason(error)) from error
    _check_plain(value)
    return value


def reason(error: BaseException) -> str:
    """What an exception says, on one short line."""
    text = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    line = " ".join(str(text).split())
    return line if len(line) <= 200 else f"{line[:200]} …"


class _PlainLoader(_Loader):
    """Refuses a key that comes twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        _check_keys(keys)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: Any) -> Any:
        # Numbers of base 60, which YAML has, take minutes where they are long.
        if len(node.value) > _LONGEST_NUMBER:
            raise ValueError("a whole number is beyond 2^63")
        return super().construct_yaml_int(node)


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)


def _check_unpacked(already: int, costs: dict[str, int], text: str) -> None:
    """ValueError where a text would take much memory: `costs` are bytes for each character."""
    needed = already + sum(text.count(letter) * cost for letter, cost in costs.items())
    if needed > _MOST_UNPACKED:
        raise ValueError(f"unpacked it takes {_size(needed)}, at most {_size(_MOST_UNPACKED)}")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        _check_keys([key for key, _ in pairs])
    return mapping


def _check_keys(keys: Iterable[Any]) -> None:
    seen = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"{key!r} comes twice")
        seen.add(key)


def _check_plain(value: Any) -> None:
    """ValueError where nesting is too deep or a number too large. Does not recurse."""
    level, depth = [value], 0
    while level:
        if any(type(item) is int and not -_WHOLE <= item < _WHOLE for item in level):
            raise ValueError("a whole number is beyond 2^63")
        containers = [item for item in level if isinstance(item, dict | list | tuple | set)]
        if containers and depth == MOST_DEPTH:
            raise ValueError(f"more than {MOST_DEPTH} levels")
        level, depth = [], depth + 1
        for item in containers:
            level.extend(item)
            level.extend(item.values() if isinstance(item, dict) else ())


def _arrays(content: bytes, most: int) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    file = io.BytesIO(content)
    check_directory(file, _MOST_MEMBERS, _MOST_DIRECTORY)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > most:
            raise ValueError(f"unpacked more than {_size(most)}")
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise ValueError(f"{name!r} comes twice")
            with archive.open(member) as packed:  # gives no more than `file_size`
                arrays[name] = _array(packed.read())
    return arrays


def _array(content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if header is None:
        raise ValueError(f"arrays of version {version}")
    shape, _, dtype = header(file)
    if dtype.hasobject or dtype.names or dtype.kind not in "biufUS":
        raise ValueError(f"an array of {dtype}")
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"an array of shape {shape} that is not there in full")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _size(number: int) -> str:
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if number >= unit:
            return f"{number / unit:.4g} {name}"
    return f"{number} bytes"


def _refuse(
    path: Path, what: str, problem: str, remedy: str, cause: BaseException | None = None
) -> NoReturn:
    hint = f"; {remedy}" if remedy else ""
    raise UserError(f"{what} {path} {problem}{hint}") from cause
