"""How old and how large folders are, and how a person reads that."""

import os
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_AGES = ((86400, "d"), (3600, "h"), (60, "min"))


def folder_size(folder: Path) -> int:
    """Bytes on disk of all files below it, each once whatever its names; links stay links."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(root, name))
            except OSError:  # gone meanwhile
                continue
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_blocks * 512
    return total


def freed(files: Iterable[Path]) -> int:
    """Bytes that are free once `files` are gone: of a file with further names none."""
    links: dict[tuple[int, int], list[int]] = {}
    for file in files:
        found = file.lstat()
        entry = links.setdefault((found.st_dev, found.st_ino), [0, found.st_nlink, found.st_blocks])
        entry[0] += 1
    return sum(blocks * 512 for removed, names, blocks in links.values() if removed >= names)


def size(number: int) -> str:
    """`1.5 GB`."""
    for unit, name in _UNITS:
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number} B"


def age(when: str | None) -> str:
    """How long ago an ISO time was: `3 d`, `5 min`; a dash where it is not known."""
    try:
        seconds = time.time() - datetime.fromisoformat(when or "").timestamp()
    except ValueError:
        return "-"
    for unit, name in _AGES:
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return "now"
