"""Whether what a person wants to keep of an arm's motion can be kept, asked before it moves."""

import os
from pathlib import Path

from robobase.errors import UserError

_ENOUGH = 4_000_000  # bytes: log, report, joints and pictures of some twenty episodes


def check_disk_space(folder: Path) -> None:
    """Write as much into `folder` as a rollout may, and take it away again.

    Raises UserError where that cannot be done: a full disk, a quota, a limit of file sizes.
    """
    probe = folder / f".room_{os.getpid()}"
    try:
        with open(probe, "wb") as file:
            file.write(bytes(_ENOUGH))
            file.flush()
            os.fsync(file.fileno())  # some file systems find out late
    except OSError as error:
        raise UserError(
            f"{folder} has no room for a log and a report ({error.strerror}): "
            f"{_ENOUGH // 1_000_000} MB are needed; nothing has moved"
        ) from error
    finally:
        probe.unlink(missing_ok=True)
