"""A run folder where a snapshot is asked for: its latest one."""

from pathlib import Path

from robobase.errors import UserError

FOLDER = "snapshots"
"""Name of the folder of snapshots inside a run folder."""

SUFFIX = "_snapshot.pt"
LATEST = "latest" + SUFFIX
BEST = "best" + SUFFIX

_MOST_NAMED = 3  # runs that a message lists


def locate(path: str | Path) -> Path:
    """The snapshot that `path` means, told on the console where it is not `path` itself.

    A file, or what does not exist, is returned as it is. A run folder, or its folder of snapshots,
    means `latest_snapshot.pt`, and where that is missing the numbered snapshot of most env steps.

    Raises:
        UserError: a folder without a snapshot in it, or one of several runs.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    found = latest(path)
    if found is None:
        raise UserError(_nothing(path))
    best = found.with_name(BEST)
    beside = f" (the best one is {best})" if best.is_file() and not best.samefile(found) else ""
    print(f"{path}: its latest snapshot, {found}{beside}")
    return found


def latest(path: Path) -> Path | None:
    """The latest snapshot of a run folder, or of its folder of snapshots; None without one."""
    return _in(path / FOLDER) or _in(path)


def _in(folder: Path) -> Path | None:
    """The latest snapshot of `folder`, or None."""
    if (newest := folder / LATEST).is_file():
        return newest
    numbered = [p for p in folder.glob(f"*{SUFFIX}") if p.name.removesuffix(SUFFIX).isdigit()]
    return max(numbered, key=lambda p: int(p.name.removesuffix(SUFFIX)), default=None)


def _nothing(path: Path) -> str:
    runs = sorted(folder.parent for folder in path.glob(f"*/{FOLDER}") if _in(folder))
    if runs:
        named = ", ".join(str(run) for run in runs[:_MOST_NAMED])
        more = ", ..." if len(runs) > _MOST_NAMED else ""
        return f"{path} holds {len(runs)} runs with snapshots; give one of them: {named}{more}"
    return (
        f"{path} is a folder without a snapshot; give a run folder with {FOLDER}/{LATEST} in it, "
        f"or a *{SUFFIX}"
    )
