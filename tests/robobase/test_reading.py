"""Readers give what a small, regular, plain file holds, and one line for anything else."""

import io
import os
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from robobase import reading
from robobase.errors import UserError
from robobase.reading import (
    MIB,
    MOST_DEPTH,
    plain_json,
    plain_yaml,
    read_bytes,
    read_csv,
    read_json,
    read_npz,
    read_text,
    read_yaml,
)

READERS = [read_text, read_json, read_yaml, read_csv, read_npz]


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_regular_file_is_refused_without_waiting(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), Path("/dev/stdin")):
        with pytest.raises(UserError, match=r"no regular file|cannot be read"):
            read(path)


@pytest.mark.parametrize("read", READERS)
def test_what_is_missing_or_no_path_is_named(read, tmp_path):
    for path in (tmp_path / "none", tmp_path / "a\0b", tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match=r"thing .* cannot be read .*; make one"):
            read(path, what="thing", remedy="make one")


def test_a_file_is_not_read_beyond_its_limit(tmp_path):
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 2**40)  # takes no room
    with pytest.raises(UserError, match="has 1024 GiB, at most 4 KiB"):
        read_bytes(path, 4096)


def test_text_is_utf8(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("\ufeffä".encode())
    assert read_text(path) == "ä"
    for content in (b"\xff\xfe", b"a\0b"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is no text"):
            read_text(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 10_000 + "]" * 10_000, "levels"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "levels"),
        ("[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1), "levels"),
        ('{"a": 1, "a": 2}', "'a' comes twice"),
        ("1" * 5000, "limit|beyond"),
        ("1" * 100, "beyond"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_json_that_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        plain_json(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 10_000 + "]" * 10_000, "levels|nested|depth"),
        ("\n".join(" " * k + "a:" for k in range(900)), "levels"),
        ("a: &x [1]\nb: [*x, *x]", "alias"),
        ("a: 1\na: 2", "'a' comes twice"),
        ("{[a]: 1}", "."),
        ("!!python/object/apply:os.system ['true']", "."),
        ("!!timestamp nonsense", "."),
        ("2001-99-99", "."),
        ("0x" + "f" * 10_000, "beyond"),
        ("a: [", "."),
        ("a\n\tb: 1: 2", "."),
    ],
)
def test_yaml_that_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        plain_yaml(text)


def test_valid_files_are_given_as_they_are(tmp_path):
    path = tmp_path / "file"
    path.write_text('{"a": [1, 2.5, null, true], "b": {"c": "ä"}}')
    assert read_json(path) == read_yaml(path) == {"a": [1, 2.5, None, True], "b": {"c": "ä"}}
    assert plain_json("[" * MOST_DEPTH + "]" * MOST_DEPTH)
    path.write_text("step,a\n1,2\n3,")
    assert read_csv(path) == (["step", "a"], [["1", "2"]])


def test_csv_columns_are_few_and_named_once(tmp_path):
    path = tmp_path / "file"
    long, wide = "x" * 200_000 + "\n", "," * 5000 + "\n"
    for text, said in (("a,a\n", "twice"), (wide, "columns"), (long, "CSV")):
        path.write_text(text)
        with pytest.raises(UserError, match=said):
            read_csv(path)


def test_arrays_are_read_back(tmp_path):
    arrays = {"numbers": np.eye(3), "text": np.array("ä"), "none": np.empty((0, 6), np.uint8)}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found = read_npz(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def _member(header: str, data: bytes = b"") -> bytes:
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_member("{'descr': '<f8', 'fortran_order': False, 'shape': (10**9,), }"), "."),
        (_member("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000,), }"), "in full"),
        (_member("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"), "."),
        (_member("{'descr': '|O', 'fortran_order': False, 'shape': (), }", b"x" * 8), "array of"),
        (_member("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (), }", b"x" * 8), "array"),
        (b"nonsense", "."),
        (bytes(2**28 + 1), "unpacked more"),
    ],
)
def test_arrays_that_are_not_there_take_no_memory(content, said, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    (tmp_path / "a.npz").write_bytes(packed.getvalue())
    with pytest.raises(UserError, match=said):
        read_npz(tmp_path / "a.npz")


def test_a_directory_of_an_npz_is_not_read_beyond_its_limit(tmp_path, monkeypatch):
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", *[0] * 9, 1, *[0] * 6) + b"a"
    count = 60_000
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, count * len(entry), 4, 0)
    (tmp_path / "a.npz").write_bytes(b"PK\3\4" + entry * count + end)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # never asked
    with pytest.raises(UserError, match="lists 60,000 records, at most 100"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("text", ["[" + "{}," * 20 * MIB, "[[" + "[],[]," * 10 * MIB])
def test_json_that_would_fill_the_memory_is_not_parsed(text, monkeypatch):
    monkeypatch.setattr(reading.json, "loads", None)
    with pytest.raises(ValueError, match=r"unpacked it takes .* at most 1\.25 GiB"):
        plain_json(text)


@pytest.mark.parametrize("row", ["\n", "1,2\n", "," * 999 + "\n"])
def test_a_table_that_would_fill_the_memory_is_not_read(row, tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n" + row * (40 * MIB // len(row)))
    with pytest.raises(UserError, match=r"unpacked it takes .* at most 1\.25 GiB"):
        read_csv(tmp_path / "a.csv")


@pytest.mark.parametrize("text", ["a: 1" + ":0" * 400_000, "? 1" + ":59" * 300_000 + "\n: 1"])
def test_a_long_number_of_base_sixty_takes_no_time(text):
    start = time.process_time()
    with pytest.raises(ValueError, match="beyond"):
        plain_yaml(text)
    assert time.process_time() - start < 5


def test_a_number_of_base_sixty_is_still_one():
    assert plain_yaml("1:30") == 90
