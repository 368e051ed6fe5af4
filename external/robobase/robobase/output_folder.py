"""Folders that commands write into: one for each call, never a used one by mistake."""

import contextlib
import itertools
from collections.abc import Iterable
from pathlib import Path

from robobase.errors import UserError
from robobase.locks import FolderLock

OF_RUNS = ("config.yaml", "multirun.yaml", "train.csv", "eval.csv", "snapshots/*_snapshot.pt")
"""What a run, or a multirun, leaves in its folder."""


def make_unique(wish: Path) -> Path:
    """Make the folder `wish`, or where that is taken `wish-2`, `wish-3`, ...; returns which.

    Names by the second stay apart also when two calls start in the same one: a folder is made by
    one of them only.

    Raises:
        OSError: it cannot be made.
    """
    wish.parent.mkdir(parents=True, exist_ok=True)
    numbered = (wish.with_name(f"{wish.name}-{number}") for number in itertools.count(2))
    for folder in itertools.chain([wish], numbered):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError  # there is always a next number


def claim(folder: Path, marks: Iterable[str], what: str, advice: str) -> FolderLock:
    """Make `folder` if it is missing, and lock it for this process.

    Args:
        marks: patterns (`Path.glob`) of what this kind of output leaves in its folder.
        what: the kind of output, for the message: "an evaluation".
        advice: what to do instead: "name another --output_dir".

    Raises:
        UserError: something in the folder matches one of `marks`, another process works in it, or
            it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(folder, advice)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); {advice}") from error
    if any(next(folder.glob(mark), None) is not None for mark in marks):
        lock.release()
        raise UserError(f"{folder} holds {what} already; {advice}")
    return lock
