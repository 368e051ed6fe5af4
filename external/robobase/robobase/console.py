"""Standard output that is read as it comes, or that nobody reads any more."""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

PIPE_CLOSED = 141
"""Exit code where the reader of the output has gone, as in `... | head`: 128 + SIGPIPE."""

_left = False


def print_lines_at_once() -> None:
    """A file or a pipe gets every line when it is printed, not when 8 kB have come together."""
    with contextlib.suppress(AttributeError, ValueError):  # not a file of the system's
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def reader_has_gone() -> bool:
    """Whether standard output or standard error is a pipe whose other end is closed."""
    return any(_is_broken(stream) for stream in (sys.stdout, sys.stderr))


def was_left() -> bool:
    """Whether a reader has gone and was forgotten."""
    return _left


def forget_reader() -> None:
    """What is printed from now on where nobody reads it goes nowhere, and raises no error."""
    global _left
    for stream in (sys.stdout, sys.stderr):
        if _is_broken(stream):
            _left = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def run_until_left(command: Callable[[], int]) -> int:
    """Exit code of `command`, or `PIPE_CLOSED` where nobody reads its output any more."""
    try:
        try:
            return command()
        finally:  # also of a SystemExit: newer Pythons' argparse hides that nobody reads its help
            sys.stdout.flush()
    except BrokenPipeError:
        if not reader_has_gone():
            raise
        forget_reader()
        return PIPE_CLOSED


@contextlib.contextmanager
def stop_without_reader() -> Iterator[None]:
    """Inside it a reader who goes away is what a closed terminal is: SIGHUP.

    Where nobody handles that signal the process ends as other programs do, by SIGPIPE, without a
    traceback.
    """
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Watched(stream) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


class _Watched:
    """A stream that turns a closed pipe into a signal, once, and is silent afterwards."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            _raise_signal()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            _raise_signal()


def _raise_signal() -> None:
    forget_reader()
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.raise_signal(signal.SIGPIPE)
    signal.raise_signal(signal.SIGHUP)


def _is_broken(stream: Any) -> bool:
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)  # errors are always told
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # not a file of the system's
        return False
