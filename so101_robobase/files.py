"""Files that appear whole or not at all, and where they go if nobody says."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from robobase.errors import UserError
from robobase.output_folder import claim, make_unique

RUNS = Path("runs")
"""Where outputs go that belong to no run folder; in the working directory."""

_RUN_FILES = ("versions.json", "config.yaml", ".hydra")  # that training leaves in a run folder


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it becomes `path` if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Delete what `written_whole` left in `folder` when its process was killed."""
    for path in folder.glob(".*.tmp.*"):
        path.unlink(missing_ok=True)


def run_folder(file: Path) -> Path | None:
    """The folder of the run that wrote `file`, or None: a snapshot or a network that lies alone.

    `<run>/snapshots/<name>_snapshot.pt`, and `<run>/<name>.pt` beside a run's own records.
    """
    folder = file.resolve().parent
    if folder.name == "snapshots":
        return folder.parent
    return folder if any((folder / name).exists() for name in _RUN_FILES) else None


def output_folder(file: Path) -> Path:
    """Where results about `file` go by default: into its run folder where it can be written.

    What comes with the package, or from somebody else, stays as it is: its results go to
    `runs/<name>` in the working directory.
    """
    run = run_folder(file)
    if run is not None and os.access(run, os.W_OK):
        return run
    return RUNS / (file.stem.removesuffix("_snapshot") if run is None else run.name)


def timed(folder: Path) -> Path:
    """A folder in `folder` named by the present date and time."""
    return folder / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"


@contextlib.contextmanager
def claimed(
    chosen: Path | None, default: Path, marks: Sequence[str], what: str, option: str
) -> Iterator[Path]:
    """The folder that a command writes into, locked until the block ends.

    It is removed if it is empty then.

    Args:
        chosen: what the user named; None takes a folder in `default` named by date and time, which
            no other call gets.
        marks, what: what the command leaves there and how to call it, as `output_folder.claim`.
        option: that names another folder.

    Raises:
        UserError: such output is there already, another process writes there, or it cannot be
            written.
    """
    advice = f"name another {option}"
    try:
        folder = chosen or make_unique(timed(default))
    except OSError as error:
        raise UserError(f"{default} cannot be written ({error.strerror}); {advice}") from error
    with claim(folder, marks, what, advice):
        try:
            if not os.access(folder, os.W_OK):
                raise UserError(f"{folder} cannot be written (Permission denied); {advice}")
            yield folder
        finally:
            with contextlib.suppress(OSError):  # something is in it
                folder.rmdir()
