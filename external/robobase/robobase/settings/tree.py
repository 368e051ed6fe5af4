"""A composed config as flat keys: `{"replay.size": 1000, ...}`, and who refers to whom."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

_REFERENCE = re.compile(r"\$\{([^\W\d][\w.]*)")


def raw(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain containers; interpolations and missing values stay the text they are."""
    content: Any = OmegaConf.to_container(cfg, resolve=False)
    return content


def at(tree: Any, key: str) -> Any:
    """The value of a key in plain containers; None where there is none."""
    for name in key.split("."):
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def leaves(tree: Any, stop_at: Collection[str] = (), key: str = "") -> Iterator[tuple[str, Any]]:
    """(key, value) of all that is no group of keys; groups of `stop_at` stay whole."""
    if not isinstance(tree, Mapping) or key in stop_at:
        yield key, tree
        return
    for name, value in tree.items():
        yield from leaves(value, stop_at, f"{key}.{name}" if key else str(name))


def has_reference(value: Any) -> bool:
    """Whether a raw value is, or holds, an interpolation."""
    if isinstance(value, str):
        return "${" in value
    items = value.values() if isinstance(value, Mapping) else value
    return isinstance(items, Collection) and any(map(has_reference, items))


def referrers(flat: Mapping[str, Any]) -> dict[str, set[str]]:
    """{key or group: keys whose raw values refer to it}."""
    found: dict[str, set[str]] = {}
    for key, value in flat.items():
        if has_reference(value):
            for reference in _REFERENCE.findall(str(value)):
                found.setdefault(reference.rstrip("."), set()).add(key)
    return found


def groups_above(key: str) -> Iterator[str]:
    """`a.b` and `a` of `a.b.c`."""
    while "." in key:
        key = key.rpartition(".")[0]
        yield key
