"""Files of torch: what runs write is read, anything else is refused before it costs memory."""

import collections
import io
import os
import pickle
import struct
import sys
import zipfile
import zlib

import pytest
import torch

from robobase import torch_file
from robobase.torch_file import DamagedFileError, read

GOOD = {
    "weights": collections.OrderedDict(a=torch.arange(6.0).view(2, 3), b=torch.tensor(3)),
    "channels last": torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "bits": torch.tensor([True]),
    "half": torch.zeros(2, dtype=torch.bfloat16),
    "rng": [2**127, "MT19937", (1, None, -1.5)],
    "empty": [{}, [], ()],
    3: torch.zeros(0, 4),
}


def test_what_runs_write_is_read(tmp_path):
    torch.save(GOOD, tmp_path / "a.pt")
    content = read(tmp_path / "a.pt")
    assert content.keys() == GOOD.keys()
    assert torch.equal(content["weights"]["a"], GOOD["weights"]["a"])
    assert content["rng"] == GOOD["rng"]
    assert torch_file.check(tmp_path / "a.pt") == (tmp_path / "a.pt").stat().st_size


def repacked(folder, change, compression=zipfile.ZIP_STORED):
    """A file of torch whose records were changed, with right checksums."""
    torch.save(GOOD, folder / "good.pt")
    path = folder / "bad.pt"
    with (
        zipfile.ZipFile(folder / "good.pt") as good,
        zipfile.ZipFile(path, "w", compression) as bad,
    ):
        records = {name: good.read(name) for name in good.namelist()}
        for name, content in change(records).items():
            bad.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return path


def pickled(folder, content: bytes):
    return repacked(folder, lambda r: r | {next(n for n in r if n.endswith("data.pkl")): content})


def saved(folder, content):
    torch.save(content, folder / "bad.pt")
    return folder / "bad.pt"


def named(module, name, *arguments):
    """A pickle that calls `module.name(*arguments)`."""
    packed = pickle.dumps(arguments, 2)[2:-1]
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + packed + b"R."


def deep(levels):
    content = []
    for _ in range(levels):
        content = [content]
    return content


def shared(count):
    base = torch.zeros(100_000)
    return [base[: 100_000 - i] for i in range(count)]


def _first_name(records):
    return next(iter(records)).partition("/")[0]


def wide():
    """A list of lists of lists ... that takes kilobytes in the file and would be 10^12 long."""
    content = [0] * 1000
    for _ in range(3):
        content = [content] * 1000
    return content


def itself():
    content = []
    content.append(content)
    return content


def fifo(folder):
    os.mkfifo(folder / "bad.pt")
    return folder / "bad.pt"


def linked(folder, target):
    (folder / "bad.pt").symlink_to(target)
    return folder / "bad.pt"


def sparse(folder, size):
    with open(folder / "bad.pt", "wb") as file:
        file.write(b"PK\3\4")
        file.truncate(size)
    return folder / "bad.pt"


def directory_of(folder, records, size):
    """Ends as if it listed so many records in so large a directory."""
    torch.save(GOOD, folder / "bad.pt")
    data = bytearray((folder / "bad.pt").read_bytes())
    large, end = data.rfind(b"PK\6\6"), data.rfind(b"PK\5\6")
    data[large + 24 : large + 48] = struct.pack("<QQQ", records, records, size)
    data[end + 8 : end + 16] = struct.pack("<HHI", 65535, 65535, 2**32 - 1)
    (folder / "bad.pt").write_bytes(data)
    return folder / "bad.pt"


def edited(folder, change):
    torch.save(GOOD, folder / "bad.pt")
    (folder / "bad.pt").write_bytes(change((folder / "bad.pt").read_bytes()))
    return folder / "bad.pt"


def legacy(folder):
    torch.save(GOOD, folder / "bad.pt", _use_new_zipfile_serialization=False)
    return folder / "bad.pt"


def legacy_before_a_zip(folder):
    """What torch reads from the start and zipfile from the end."""
    torch.save(GOOD, folder / "good.pt")
    legacy(folder)
    with open(folder / "bad.pt", "ab") as file:
        file.write((folder / "good.pt").read_bytes())
    return folder / "bad.pt"


def ended_oddly(folder, how):
    """A good file whose directory readers of ZIP look for, or find, in different places."""
    torch.save(GOOD, folder / "bad.pt")
    good = (folder / "bad.pt").read_bytes()
    locator = good.rfind(b"PK\6\7")
    large = good[locator - 56 : locator]
    if how == "another place":
        moved = good[:locator] + b"PK\6\7" + struct.pack("<IQI", 0, 0, 1) + good[locator + 20 :]
    elif how == "a comment":
        moved = good[:-2] + struct.pack("<H", 30) + bytes(30)
    else:
        moved = good[: locator - 56] + bytes(8) + large + good[locator:]
    (folder / "bad.pt").write_bytes(moved)
    return folder / "bad.pt"


def shown_otherwise(folder):
    """torch finds a pickle that calls; zipfile, by the locator's neighbour, the harmless one."""
    torch.save({"a": 1}, folder / "good.pt")
    with zipfile.ZipFile(folder / "good.pt") as good:
        records = {f"x/{name.partition('/')[2]}": good.read(name) for name in good.namelist()}
    evil = records | {"x/data.pkl": named("builtins", "bytearray", 10**6)}
    body, directories = b"", []
    for content in (records, evil):
        directory = b""
        for name, data in content.items():
            sizes = struct.pack("<IIIHH", zlib.crc32(data), len(data), len(data), len(name), 0)
            directory += b"PK\1\2" + struct.pack("<HHHHHH", 20, 20, 0, 0, 0, 0) + sizes
            directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name.encode()
            body += b"PK\3\4" + struct.pack("<HHHHH", 20, 0, 0, 0, 0) + sizes
            body += name.encode() + data
        directories.append(directory)

    def ended(directory):
        nonlocal body
        start = len(body)
        body += directory
        count = len(records)
        body += b"PK\6\6" + struct.pack(
            "<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(directory), start
        )
        return start + len(directory)

    seen_by_torch = ended(directories[1])
    ended(directories[0])
    body += b"PK\6\7" + struct.pack("<IQI", 0, seen_by_torch, 1)
    body += b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    (folder / "bad.pt").write_bytes(body)
    return folder / "bad.pt"


def renamed(folder):
    """A record with a second name, as newer versions of zipfile take it from an extra field."""
    path = folder / "bad.pt"
    torch.save(GOOD, folder / "good.pt")
    with zipfile.ZipFile(folder / "good.pt") as good, zipfile.ZipFile(path, "w") as bad:
        for name in good.namelist():
            info = zipfile.ZipInfo(name)
            if name.endswith("data.pkl"):
                info.extra = struct.pack("<HHBI", 0x7075, 5 + len(name), 1, 0) + name.encode()
            bad.writestr(info, good.read(name))
    return path


TWO_READINGS = {
    "a directory for torch alone": shown_otherwise,
    "a directory in another place": lambda f: ended_oddly(f, "another place"),
    "a comment": lambda f: ended_oddly(f, "a comment"),
    "a gap": lambda f: ended_oddly(f, "a gap"),
    "a second name": renamed,
}

BAD = {
    "empty": lambda f: edited(f, lambda data: b""),
    "four bytes": lambda f: edited(f, lambda data: data[:4]),
    "half": lambda f: edited(f, lambda data: data[: len(data) // 2]),
    "without its end": lambda f: edited(f, lambda data: data[:-1]),
    "something before it": lambda f: edited(f, lambda data: b"x" + data),
    "a folder": lambda f: (f / "bad.pt").mkdir() or f / "bad.pt",
    "a pipe": fifo,
    "a device": lambda f: linked(f, "/dev/zero"),
    "a device of nothing": lambda f: linked(f, "/dev/null"),
    "nowhere": lambda f: f / "bad.pt",
    "holes": lambda f: sparse(f, 2**34),
    "a terabyte of holes": lambda f: sparse(f, 2**40),
    "a directory of millions": lambda f: directory_of(f, 10**7, 2**26),
    "a directory of trillions": lambda f: directory_of(f, 2**60, 2**60),
    "the old format": legacy,
    "two formats": legacy_before_a_zip,
    "packed": lambda f: repacked(f, lambda r: r, zipfile.ZIP_DEFLATED),
    "a bomb": lambda f: repacked(
        f, lambda r: r | {f"{_first_name(r)}/data/9": bytes(10**8)}, zipfile.ZIP_DEFLATED
    ),
    "a record twice": lambda f: repacked(
        f, lambda r: r | {f"{_first_name(r).upper()}/DATA.PKL": b"."}
    ),
    "two folders": lambda f: repacked(f, lambda r: r | {"other/data.pkl": b"."}),
    "a path": lambda f: repacked(f, lambda r: r | {"../data/1": b"."}),
    "code": lambda f: repacked(f, lambda r: r | {f"{_first_name(r)}/code/x.py": b"."}),
    "constants": lambda f: repacked(f, lambda r: r | {f"{_first_name(r)}/constants.pkl": b"."}),
    "no pickle": lambda f: repacked(
        f, lambda r: {n: c for n, c in r.items() if not n.endswith("pkl")}
    ),
    "no tensors": lambda f: repacked(f, lambda r: {n: c for n, c in r.items() if "data/" not in n}),
    "tensors that are too short": lambda f: repacked(
        f, lambda r: {n: c[:-1] if "data/" in n else c for n, c in r.items()}
    ),
    "os.system": lambda f: pickled(f, named("os", "system", "true")),
    "builtins.eval": lambda f: pickled(f, named("builtins", "eval", "1")),
    "torch.load": lambda f: pickled(f, named("torch", "load", "x")),
    "a huge bytearray": lambda f: pickled(f, named("builtins", "bytearray", 10**12)),
    "a counter": lambda f: pickled(f, named("collections", "Counter", "abc")),
    "a set": lambda f: pickled(f, named("builtins", "set", [1])),
    "a name by its parts": lambda f: pickled(f, b"\x80\x04\x8c\x02os\x8c\x06system\x93."),
    "a name that is built": lambda f: pickled(f, b"\x80\x02cos\nsystem\n."),
    "no end": lambda f: pickled(f, b"\x80\x02N"),
    "a text that is not there": lambda f: pickled(f, b"\x80\x02X\xff\xff\xff\x7f."),
    "nothing": lambda f: pickled(f, b""),
    "ten thousand levels": lambda f: pickled(f, b"\x80\x02" + b"]" * 10_000 + b"a" * 9999 + b"."),
    "forty levels": lambda f: saved(f, deep(40)),
    "a list of lists": lambda f: saved(f, wide()),
    "a list in itself": lambda f: saved(f, itself()),
    "a large number": lambda f: saved(f, 2**1000),
    "a key that is a tuple": lambda f: saved(f, {(1, 2): 3}),
    "bytes": lambda f: saved(f, b"abc"),
    "complex": lambda f: saved(f, 1j),
    "a repeated number": lambda f: saved(f, torch.zeros(1).expand(10**9)),
    "a repeated row": lambda f: saved(f, torch.zeros(1, 1000).expand(10**6, 1000)),
    "many views of one": lambda f: saved(f, shared(1000)),
    "no storage": lambda f: saved(f, torch.empty(10**9, device="meta")),
    "a sparse tensor": lambda f: saved(f, torch.eye(3).to_sparse()),
    "complex numbers": lambda f: saved(f, torch.zeros(3, dtype=torch.complex64)),
    "a parameter": lambda f: saved(f, torch.nn.Parameter(torch.zeros(3))),
    "a module": lambda f: saved(f, torch.nn.Linear(2, 2)),
}


@pytest.mark.parametrize("form", BAD.values(), ids=BAD)
def test_everything_else_is_one_line(tmp_path, form):
    path = form(tmp_path)
    with pytest.raises(DamagedFileError) as refused:
        read(path)
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize("form", TWO_READINGS.values(), ids=TWO_READINGS)
def test_torch_is_not_given_what_it_may_read_otherwise(tmp_path, form, monkeypatch):
    path = form(tmp_path)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch reads the file"))
    with pytest.raises(DamagedFileError):
        read(path)


def test_a_file_larger_than_allowed_is_not_read(tmp_path):
    torch.save(GOOD, tmp_path / "a.pt")
    with pytest.raises(DamagedFileError, match="at most 1,000"):
        read(tmp_path / "a.pt", most=1000)


def test_any_flipped_bit_is_found(tmp_path):
    torch.save({"a": torch.arange(50.0)}, tmp_path / "good.pt")
    good = (tmp_path / "good.pt").read_bytes()
    start = good.index(b"data.pkl")
    for at in range(start + 8, len(good), 97):
        data = bytearray(good)
        data[at] ^= 1
        (tmp_path / "bad.pt").write_bytes(data)
        try:
            content = read(tmp_path / "bad.pt")
        except DamagedFileError:
            continue
        assert torch.equal(content["a"], torch.arange(50.0))  # padding, dates and the like


def test_nothing_of_the_file_is_imported(tmp_path):
    before = set(sys.modules)
    with pytest.raises(DamagedFileError):
        read(pickled(tmp_path, named("this", "s")))
    assert "this" not in set(sys.modules) - before


def test_saving_and_reading_needs_no_file_of_a_certain_name(tmp_path):
    buffer = io.BytesIO()
    torch.save(GOOD, buffer)
    path = tmp_path / "with blanks and ü.pt"
    path.write_bytes(buffer.getvalue())
    assert read(path).keys() == GOOD.keys()
