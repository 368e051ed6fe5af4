"""One process at a time: a lock that names its holder."""

import contextlib
import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import time
from pathlib import Path

from robobase.errors import UserError

_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # some network file systems
_MOST = 4096  # bytes of what a holder says


class FileLock:
    """Holds the lock file `path` until `release`, or until this process ends, however it ends.

    The file says who holds it and is removed at the end. A second lock, of another process or of
    this one, is refused at once. Where the file system knows no locks there is none.

    Args:
        path: in a folder that exists, of a name that is used for nothing else.
        what: is locked, as a message names it.
        remedy: what a person can do who is refused.

    Raises:
        UserError: another process holds it, or the file cannot be made.
    """

    def __init__(self, path: Path, what: str, remedy: str = "wait until it has ended"):
        self.path = Path(path)
        self._file: int | None = None
        while self._file is None:
            self._file = self._take(what, remedy)

    def release(self) -> None:
        """Let the next one in. May be called again."""
        if self._file is None:
            return
        file, self._file = self._file, None
        if _is_at(file, self.path):
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)  # forked processes have the file open still
        os.close(file)

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _take(self, what: str, remedy: str) -> int | None:
        """A locked descriptor; None where the file was removed just before it was locked."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            file = os.open(self.path, flags, 0o644)
        except OSError as error:
            raise UserError(f"cannot lock {what} with {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                holder = _holder(file)
                os.close(file)
                raise UserError(f"{what} is in use by {holder}; {remedy}") from error
        if not _is_at(file, self.path):
            os.close(file)
            return None
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(_myself()).encode(), 0)
        return file


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.lstat(path))
    except OSError:
        return False


def _myself() -> dict[str, object]:
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%H:%M:%S"),
        "command": shlex.join(command)[:200],
    }


def _holder(file: int) -> str:
    """Who holds the lock, as it says itself."""
    try:
        said = json.loads(os.pread(file, _MOST, 0))
        where = "" if said["host"] == socket.gethostname() else f" on {said['host']}"
        return f"process {said['pid']}{where} ({said['command']}) since {said['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
