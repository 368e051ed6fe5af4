"""What signals do: one table for all commands.

A training notes them and ends after a snapshot (`StopRequest`); what has nothing to save is
interrupted (`interrupts`); an arm is let go (`heard_by`); worker processes leave them to their
parent (`leave_to_parent`).
What was ignored when the process began, as SIGHUP under nohup, stays ignored.
"""

import contextlib
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any, Self

TIME_LIMIT = "time limit"
"""Why to stop where nobody asked for it at this moment."""

PRUNED = "pruned"
"""Why to stop a trial of a search that is worse than the others: it does not go on later."""

MEANINGS = {
    "SIGINT": "Ctrl-C",
    "SIGTERM": "kill, a scheduler or the machine going down",
    "SIGHUP": "the terminal was closed",
    "SIGUSR1": "a scheduler's warning",
    "SIGUSR2": "a scheduler's warning",
    "SIGXCPU": "the limit of processor time",
}
STOPPING = tuple(getattr(signal, name) for name in MEANINGS if hasattr(signal, name))

PARENT = "ROBOBASE_PARENT"
"""Environment variable of a job of a multirun that runs in a process of its own."""

_ECHO_SECONDS = 1.0  # one wish to stop may come twice: from the kernel and the shell, or a group


class Interrupted(KeyboardInterrupt):
    """One of the signals of the table, where there is nothing to save first.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Of a process that ends by `interrupt`."""
    return exit_code_of(getattr(interrupt, "number", signal.SIGINT))


def exit_code_of(number: int) -> int:
    """128 and the signal's number, as shells report it."""
    return 128 + number


@contextlib.contextmanager
def interrupts() -> Iterator[None]:
    """Inside, every signal of the table raises `Interrupted`, so that files and devices are closed.

    A signal within a second of another is taken for its echo: it does not disturb the closing.
    """

    def interrupt(number: int) -> None:
        raise Interrupted(number)

    with _Handlers(interrupt):
        yield


@contextlib.contextmanager
def heard_by(handler: Callable[[int], None]) -> Iterator[None]:
    """Inside, `handler` is called with the number of each signal of the table, echoes included.

    For what cannot wait a second to learn that a person means it, as a moving arm.
    """
    with _Handlers(handler, hears_echoes=True):
        yield


def leave_to_parent() -> None:
    """In a worker process: a terminal or scheduler signals all, but the parent decides."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def end_with_parent() -> None:
    """Stop, as by SIGTERM, when the process that started this one is gone, however it went.

    It hands over the reading end of a pipe, by number in the environment variable `PARENT`, and
    keeps the other one.
    """
    fd = os.environ.get(PARENT, "")
    if not fd.isdecimal():
        return
    os.environ[PARENT] = "watched"  # once, and not by processes of this one
    os.set_inheritable(int(fd), False)
    _shield_resource_tracker()

    def watch() -> None:
        os.read(int(fd), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _shield_resource_tracker() -> None:
    """Start the process that cleans up for multiprocessing with the signals of the table blocked.

    A scheduler signals all processes of a job, and that one would die of it before the run is done.
    """
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


class StopRequest:
    """Context manager; inside it the first signal is noted in `reason`.

    The second one only says that the end is being prepared, so that an impatient Ctrl-C does not
    cost what is about to be saved; the third one raises `Interrupted`.

    Args:
        time_limit_minutes: ask for a stop after this long; None for never.
        saving: what the second signal says of the state of things.
    """

    def __init__(self, time_limit_minutes: float | None = None, saving: str = "not all is saved"):
        self._deadline = (
            None if time_limit_minutes is None else time.monotonic() + 60 * time_limit_minutes
        )
        self._saving = saving
        self._signal: str | None = None
        self._handlers = _Handlers(self._note)
        self.signals = 0
        """How often a stop was asked for, echoes not counted."""

    @property
    def reason(self) -> str | None:
        """Why to stop, or None to go on."""
        if self._signal:
            return self._signal
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return TIME_LIMIT
        return None

    def __bool__(self) -> bool:
        return self.reason is not None

    def ask(self, reason: str) -> None:
        """Ask for a stop from within, where no signal did."""
        self._signal = self._signal or reason

    def __enter__(self) -> Self:
        self._handlers.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._handlers.__exit__()

    def _note(self, number: int) -> None:
        self.signals += 1
        name = signal.Signals(number).name
        if self.signals == 1:
            self._signal = name
        elif self.signals == 2:
            _say(f"{name} again: {self._saving}; a third signal ends at once")
        else:
            _say(f"{name} for the third time: {self._saving}, and that is how it ends")
            self._handlers.__exit__()
            raise Interrupted(number)


class _Handlers:
    """Installs one handler for the signals of the table, and puts back what was there.

    Only the main thread may do so; in others nothing happens.
    """

    _depth = 0  # how many are installed, one inside the other
    _heard: float | None = None  # when the last signal came, to any of them

    def __init__(self, handler: Callable[[int], None], hears_echoes: bool = False):
        self._handler = handler
        self._hears_echoes = hears_echoes
        self._installed = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        if _Handlers._depth == 0:
            _Handlers._heard = None
        _Handlers._depth += 1
        self._installed = True
        for number in STOPPING:
            # None: a handler that Python did not install and could not put back
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        if self._installed:
            _Handlers._depth -= 1
            self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        _leave_terminal(hung_up=number == getattr(signal, "SIGHUP", None))
        now, before = time.monotonic(), _Handlers._heard
        if self._hears_echoes or before is None or now - before >= _ECHO_SECONDS:
            _Handlers._heard = now
            self._handler(number)


def _leave_terminal(hung_up: bool) -> None:
    """Every word to a terminal that is gone would be an error and end what is to be saved."""
    for fd in (1, 2):
        with contextlib.suppress(OSError):
            is_terminal = stat.S_ISCHR(os.fstat(fd).st_mode)
            if is_terminal and (hung_up or not os.isatty(fd)):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, fd)
                os.close(nowhere)


def _say(text: str) -> None:
    """Write a line past Python's buffers, which the code that was interrupted may be filling."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())
