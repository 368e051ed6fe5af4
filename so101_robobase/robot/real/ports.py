"""Serial ports: which there are, who has one open, and one process at a time on an arm's.

Linux and macOS. Who has a port open is only known on Linux.
"""

import errno
import fcntl
import grp
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from robobase.errors import UserError
from so101_robobase.arm.joints import JOINTS
from so101_robobase.arm.model import SO101
from so101_robobase.base.extras import require_robot
from so101_robobase.robot.person.hints import REAL_ARM, hints_for

MODEL = 777
"""Model number of an STS3215 servo."""

IDS: tuple[int, ...] = SO101.each("servo")
"""Of the servos on LeRobot's SO-101, in `JOINTS` order."""

_PSEUDO_TERMINALS = "/dev/pts/"
_PROCESSES = Path("/proc")
_HARMLESS = "watchdog"  # the part of our own watchdog's command line that tells it from others


class Process(NamedTuple):
    """A process that has a port open."""

    id: int
    command: str


def available() -> list[str]:
    """Serial ports of this machine with what the system knows of them."""
    list_ports = require_robot("serial.tools.list_ports")
    return [
        port.device if port.description in ("n/a", None) else f"{port.device} ({port.description})"
        for port in sorted(list_ports.comports())
    ]


def holders(port: str) -> list[Process]:
    """Other processes of this machine that have `port` open, as far as this user may know."""
    try:
        device = os.stat(port).st_rdev
    except OSError:
        return []
    found = []
    for folder in _PROCESSES.glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            opened = [os.stat(link) for link in (folder / "fd").iterdir()]
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
        except OSError:  # ended meanwhile, or another user's
            continue
        if any(stat.S_ISCHR(file.st_mode) and file.st_rdev == device for file in opened):
            found.append(Process(int(folder.name), command.strip()))
    return found


class PortLock:
    """Sole use of a port, among all who claim it or open it with pyserial's `exclusive`.

    Raises UserError: the port is missing, is none, may not be used, or is used by somebody else.
    """

    def __init__(self, port: str):
        self.port = port
        self._file = _open(port)
        try:
            if not os.isatty(self._file):
                raise UserError(f"{port} is not a serial port; {_there_are()}")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise _busy(port, holders(port)) from error
            self._refuse_company()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let others use the port; may be repeated."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _refuse_company(self) -> None:
        """Other programs do not lock. A pseudo-terminal's own server may keep it open."""
        if os.path.realpath(self.port).startswith(_PSEUDO_TERMINALS):
            return
        others = [process for process in holders(self.port) if _HARMLESS not in process.command]
        if others:
            raise _busy(self.port, others)


def check_servos(port: str, models: Mapping[int, int | None]) -> None:
    """Whether an arm's servos answered: `models` has model numbers by id, None for no answer.

    Raises UserError that says which did not, and what to look at.
    """
    missing = [id_ for id_, model in models.items() if model is None]
    if len(missing) == len(models):
        raise UserError(f"nothing answers on {port}: {hints_for(port).silent} {_there_are()}")
    if missing:
        verb = "does" if len(missing) == 1 else "do"
        hints = hints_for(port)
        remedy = (
            f"check the cable to and from {name(missing[0])}, or set its id with "
            "`lerobot-setup-motors`"
        )
        raise UserError(
            f"{_named(missing)} {verb} not answer on {port}, the other servos do; "
            f"{remedy if hints is REAL_ARM else hints.line}"
        )
    wrong = [id_ for id_, model in models.items() if model != MODEL]
    if wrong:
        raise UserError(
            f"{_named(wrong)} on {port} has model number {models[wrong[0]]}, not {MODEL} (STS3215);"
            " this is another servo or another robot's port"
        )


def name(id_: int) -> str:
    """The joint whose servo has this id."""
    return JOINTS[id_ - 1]


def _named(ids: list[int]) -> str:
    return ", ".join(f"{name(id_)} (id {id_})" for id_ in ids)


def _open(port: str) -> int:
    try:
        return os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise UserError(f"port {port} does not exist; {_there_are()}") from error
    except PermissionError as error:
        raise UserError(
            f"no permission to use {port}; add yourself to its group with "
            f"`sudo usermod -aG {_group(port)} $USER` and log in again"
        ) from error
    except OSError as error:
        if error.errno == errno.EBUSY:  # opened by somebody with TIOCEXCL
            raise _busy(port, holders(port)) from error
        raise UserError(
            f"port {port} cannot be opened ({error.strerror}); pull its USB plug and put it back"
        ) from error


def _busy(port: str, others: list[Process]) -> UserError:
    who = ", ".join(f"process {process.id} ({process.command[:60]})" for process in others)
    return UserError(f"{port} is in use by {who or 'another process'}; end that first")


def _there_are() -> str:
    ports = available()
    return f"serial ports here: {', '.join(ports)}" if ports else "there is no serial port here"


def _group(port: str) -> str:
    try:
        return grp.getgrgid(os.stat(port).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"
