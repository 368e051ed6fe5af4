"""Damage for files: bytes that are flipped or cut, and values that no file should hold."""

import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import yaml

NASTY = (
    None,
    True,
    "",
    "nan",
    "x" * 5000,
    "../../../etc/passwd",
    "/dev/zero",
    "a\0b",
    "\x1b[2J",
    "${oc.env:HOME}",
    -1,
    0,
    1.5,
    2**31,
    10**18,
    10**30,
    10**400,
    1e300,
    -1e300,
    1e-300,
    math.nan,
    math.inf,
    -math.inf,
    [],
    {},
    [[]],
    [1, "a", None],
    {"a": 1},
    [0.0] * 1000,
)


def of_bytes(sample: bytes, rng: random.Random) -> bytes:
    """`sample` with a few bytes flipped, cut out, doubled, or cut short."""
    data = bytearray(sample)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data)) if data else 0
        kind = rng.randrange(5)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            del data[at : at + rng.randrange(1, 64)]
        elif kind == 3:
            data[at:at] = data[at : at + rng.randrange(1, 64)]
        else:
            data[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"))
    return bytes(data)


def of_values(sample: Any, rng: random.Random) -> Any:
    """`sample` with one value replaced, removed, added, or packed into a list."""
    root = [copy.deepcopy(sample)]
    places = list(_places(root))
    holder, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind < 3 or (kind == 5 and holder is root):
        holder[key] = rng.choice(NASTY)
    elif kind == 3 and holder is not root:
        del holder[key]
    elif kind == 4:
        holder[key] = [holder[key]]
    elif isinstance(holder, dict):
        holder[rng.choice(("unknown", "", 5, "a b"))] = rng.choice(NASTY)
    else:
        holder.insert(key, rng.choice(NASTY))
    return root[0]


def json_files(sample: Any, rng: random.Random) -> bytes:
    """A damaged JSON file of `sample`."""
    return _text(sample, rng, lambda value: json.dumps(value, default=str))


def yaml_files(sample: Any, rng: random.Random) -> bytes:
    """A damaged YAML file of `sample`."""
    return _text(sample, rng, lambda value: yaml.safe_dump(value, sort_keys=False))


def _text(sample: Any, rng: random.Random, dump: Callable[[Any], str]) -> bytes:
    kind = rng.randrange(10)
    if kind < 7:
        return dump(of_values(sample, rng)).encode()
    text = dump(sample)
    if kind < 9:
        return of_bytes(text.encode(), rng)
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    return "".join([*lines[:at], lines[at], *lines[at:]]).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])
