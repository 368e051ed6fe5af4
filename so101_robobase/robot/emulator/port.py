"""A serial port made of a pseudo-terminal, under a path that stays the same."""

import contextlib
import os
import termios
import tty
from pathlib import Path

from robobase.errors import UserError

_SPEEDS = {
    getattr(termios, f"B{speed}"): speed
    for speed in (38_400, 57_600, 115_200, 500_000, 1_000_000, 19_200, 9_600, 4_800)
    if hasattr(termios, f"B{speed}")
}
_SERVO_SPEED = getattr(termios, "B1000000", None)
_LARGEST_READ = 4096  # bytes


class Port:
    """The servos' end of the line; `link` leads to the other end while it is plugged in.

    Raises UserError if `link` is taken.
    """

    def __init__(self, link: Path):
        self.link = link
        self._master = self._slave = -1
        self.plug()

    @property
    def plugged(self) -> bool:
        return self._master >= 0

    @property
    def baud_rate(self) -> int | None:
        """The speed that the other end has set; None where terminals have no servo's speed.

        Linux shows odd speeds, 250000 among them, as one number that is none of them.
        """
        if _SERVO_SPEED is None:
            return None
        speed = termios.tcgetattr(self._master)[5]
        return _SPEEDS.get(speed, speed)

    def fileno(self) -> int:
        return self._master

    def plug(self) -> None:
        """Make a pseudo-terminal and the link to it."""
        check_free(self.link)
        self._master, self._slave = os.openpty()
        # Kept open: without any reader the terminal would be hung up between two clients.
        tty.setraw(self._slave)
        if _SERVO_SPEED is not None:
            attributes = termios.tcgetattr(self._slave)
            attributes[4] = attributes[5] = _SERVO_SPEED
            termios.tcsetattr(self._slave, termios.TCSANOW, attributes)
        os.set_blocking(self._master, False)
        temporary = self.link.with_name(f".{self.link.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(os.ttyname(self._slave))
        temporary.replace(self.link)

    def unplug(self) -> None:
        """Hang up and take the link away, as when a cable is pulled."""
        if not self.plugged:
            return
        with contextlib.suppress(FileNotFoundError):
            self.link.unlink()
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def read(self) -> bytes:
        """Bytes that have come, b"" if there are none."""
        try:
            return os.read(self._master, _LARGEST_READ)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> None:
        """Send; what a reader that has stopped reading leaves no room for is lost."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)


def check_free(link: Path) -> None:
    """Raise UserError if no link can be made here."""
    if link.is_symlink() and not link.exists():
        return  # left by a process that was killed
    if link.exists() or link.is_symlink():
        raise UserError(f"{link} exists already; remove it or choose another --link")
    if not link.parent.is_dir():
        raise UserError(f"{link.parent} is not a folder; choose another --link")
