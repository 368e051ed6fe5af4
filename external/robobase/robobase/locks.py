"""A lock on a folder, so that two processes do not write into it at the same time."""

import contextlib
import errno
import fcntl
import os
import sys
import time
import weakref
from pathlib import Path
from typing import Self

from robobase.errors import UserError

LOCK_FILE = ".lock"  # only where the file system locks no folders, as NFS
_BUSY = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
_NEEDS_A_FILE = {errno.EBADF, errno.EINVAL, errno.EISDIR}
_PAUSES = (0.002, 0.01, 0.03, 0.06, 0.1)  # s between tries
_held: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()


class FolderLock:
    """Exclusive use of `folder` until `release`, or until this process ends in whatever way.

    It is the operating system's (flock) and advisory: it holds off whoever asks for it too. The
    lock is on the folder itself and needs no right to write beside it; it stays with a folder that
    is renamed. NFS locks files only: there, an empty `.lock` is made in the folder, and other
    machines see the lock where the server has a lock service. A file system that cannot lock at
    all is told in one line and used without.

    Args:
        folder: an existing folder.
        advice: what to do if another process uses it, after a semicolon: "wait for it, or ...".

    Raises:
        UserError: another process holds the lock, or another object of this process.
        OSError: the folder is missing or may not be read.
    """

    def __init__(self, folder: Path, advice: str = "wait for it to end, or choose another folder"):
        self.folder = Path(folder)
        self._folder_fd: int | None = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        self._fd: int | None = self._folder_fd
        try:
            self._lock(advice)
        except BaseException:
            self.release()
            raise
        _held.add(self)

    def is_in_place(self) -> bool:
        """Whether the path still leads to the locked folder: it was neither removed nor renamed."""
        if self._folder_fd is None:
            return False
        try:
            there = os.stat(self.folder)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._folder_fd))

    def release(self) -> None:
        """Let others use the folder. Can be called twice."""
        if self._fd is not None:
            with contextlib.suppress(OSError):  # a child that was just forked has it open too
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._close()

    def _close(self) -> None:
        for fd in {self._fd, self._folder_fd} - {None}:
            os.close(fd)  # type: ignore[arg-type]
        self._fd = self._folder_fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            self.release()

    def _lock(self, advice: str) -> None:
        try:
            try:
                _flock(self._fd)
            except OSError as error:
                if error.errno not in _NEEDS_A_FILE:
                    raise
                self._fd = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
                _flock(self._fd)
        except OSError as error:
            if error.errno in _BUSY:
                raise UserError(f"{self.folder} is in use{_holder(self._fd)}; {advice}") from None
            print(
                f"{self.folder} cannot be locked ({error.strerror}): see to it that nothing else "
                "writes there",
                file=sys.stderr,
            )


def is_held(folder: Path) -> bool | None:
    """Whether somebody holds the lock of `folder`; None where the file system does not tell.

    It is asked for a shared lock, given back at once; whoever takes the folder in that moment tries
    again.
    """
    for path, flags in ((folder, os.O_DIRECTORY), (folder / LOCK_FILE, 0)):
        try:
            fd = os.open(path, os.O_RDONLY | flags)
        except OSError:  # no folder, or nobody ever needed the file
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                return True
            if error.errno not in _NEEDS_A_FILE:
                return None
        else:
            return False
        finally:
            os.close(fd)  # and with it the lock
    return None


def _flock(fd: int | None) -> None:
    """Raises OSError where somebody holds it for longer than a look takes (`is_held`)."""
    assert fd is not None
    for pause in (*_PAUSES, None):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if pause is None or error.errno not in _BUSY:
                raise
            time.sleep(pause)
        else:
            return


def _holder(fd: int | None) -> str:
    """` by process 123`, where Linux tells."""
    assert fd is not None
    status = os.fstat(fd)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return ""
    pids = [words[4] for words in locks if words[1] == "FLOCK" and words[5] == device]
    return f" by process {pids[0]}" if pids and int(pids[0]) > 0 else ""


def _forget_after_fork() -> None:
    """A forked child shares the lock without wanting to, and might outlive its parent with it."""
    for lock in list(_held):
        lock._close()


os.register_at_fork(after_in_child=_forget_after_fork)
