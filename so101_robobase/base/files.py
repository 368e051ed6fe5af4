"""Files that commands write: whole or not at all, and never in place of something else."""

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from robobase.errors import UserError
from robobase.output_folder import claim, make_unique
from robobase.reading import reason

RUNS = Path("runs")
"""Where outputs go that belong to no run folder; in the working directory."""

MARK = "so101_robobase"
"""What files that a person may name carry near one of their ends, so that they may be replaced."""

_RUN_FILES = ("versions.json", "config.yaml", ".hydra")  # that training leaves in a run folder
_NEAR = 4096  # bytes
_UNFINISHED = re.compile(r"\..+\.\d+\.tmp(\..+)?")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


@contextlib.contextmanager
def written_whole(path: Path, own: bool = False) -> Iterator[Path]:
    """A temporary name to write to; it becomes `path` if the block ends without an error.

    Args:
        own: replace a file only where it carries `MARK`.

    Raises:
        UserError: `path` is no regular file, or one that may not be replaced, or its folder cannot
            be made.
    """
    check_replaceable(path, own)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({reason(error)}); name another") from error
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    temporary.unlink(missing_ok=True)  # a link in its place would be followed
    try:
        yield temporary
        check_replaceable(path, own)  # work may have taken hours
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def checked_output(path: Path, suffixes: Sequence[str] = (), own: bool = True) -> Path:
    """`path`, links followed, if a file can be written there: asked before any work is done.

    Args:
        suffixes: that it may have; none: any.
        own: as of `written_whole`.

    Raises:
        UserError: it cannot.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise UserError(f"{path} must end in {' or '.join(suffixes)}")
    try:
        path = path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise UserError(f"{path} cannot be written ({reason(error)}); name another") from error
    check_replaceable(path, own)
    there = next(folder for folder in path.parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "may not be written to" if there.is_dir() else "is no folder"
        raise UserError(f"{path} cannot be written: {there} {why}; name another")
    return path


def check_replaceable(path: Path, own: bool = False) -> None:
    """UserError unless nothing is at `path`, or a regular file that may be replaced."""
    try:
        kind = stat.S_IFMT(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be written ({reason(error)}); name another") from error
    if kind != stat.S_IFREG:
        raise UserError(
            f"{path} is {_KINDS.get(kind, 'a device')}, which is not written over; name a file"
        )
    if own and not _is_own(path):
        raise UserError(
            f"{path} is there already and was not written by this command; name another file, or "
            "move that one away"
        )


def inside(folder: Path, name: str) -> Path:
    """The file `name` of `folder`, links followed. UserError where it leads out of the folder."""
    try:
        within = not Path(name).is_absolute() and ".." not in Path(name).parts
        path = (folder / name).resolve()
        leads_out = not path.is_relative_to(folder.resolve())
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        raise UserError(f"{folder} names {name!r}, which is no file name") from error
    if not within:
        raise UserError(f"{folder} names {name!r}, which is not within it")
    if leads_out:
        raise UserError(
            f"{folder / name} is a link out of {folder}; put the file itself there, or name the "
            "folder to which it leads"
        )
    return path


def remove_unfinished(folder: Path) -> None:
    """Delete what `written_whole` left in `folder` when its process was killed."""
    for path in folder.glob(".*.tmp*"):
        if _UNFINISHED.fullmatch(path.name) and path.is_file():
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
    `runs/<name>` in the working directory. So do those about a run folder that holds links, which
    would be followed.
    """
    run = run_folder(file)
    if run is not None and os.access(run, os.W_OK) and not any(map(Path.is_symlink, run.iterdir())):
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


def _is_own(path: Path) -> bool:
    """Whether `MARK` stands near an end of the file; an empty file is nobody's."""
    try:
        with open(path, "rb") as file:
            begin = file.read(_NEAR)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _NEAR))
            return not begin or MARK.encode() in begin or MARK.encode() in file.read(_NEAR)
    except OSError:
        return False
