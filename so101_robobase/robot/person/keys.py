"""Keys pressed in the terminal, without waiting for them and without a window system."""

import contextlib
import os
import re
import select
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

ESCAPE = "\x1b"

Keys = Callable[[], str | None]
"""Returns the next key pressed since the last call, None where there is none."""

_SEVERAL_CHARACTERS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[ -~])")  # arrows, function keys
_AT_ONCE = 4096  # bytes


def no_keys() -> None:
    """Nobody sits there."""
    return


def has_keys(stream: TextIO | None = None) -> bool:
    """Whether somebody can press keys at `stream` (default: standard input)."""
    return _terminal(stream) is not None


@contextlib.contextmanager
def terminal_keys(stream: TextIO | None = None) -> Iterator[Keys]:
    """Reads single keys from `stream` (default: standard input) while the block runs.

    Esc comes before all that was typed earlier and is not read yet; a terminal that goes away
    counts as Esc. Arrow and function keys are swallowed. Where the stream is no terminal, or this
    process is in the background, there are no keys. The terminal is put back whatever happens.
    """
    descriptor = _terminal(stream)
    if descriptor is None:
        yield no_keys
        return
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)  # Ctrl-C still interrupts
    try:
        yield _Reader(descriptor)
    finally:
        with contextlib.suppress(termios.error):  # it has gone away
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class _Reader:
    """The `Keys` of a terminal."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self._waiting: list[str] = []

    def __call__(self) -> str | None:
        while select.select([self._descriptor], [], [], 0)[0]:
            typed = self._read()
            self._waiting.extend(_SEVERAL_CHARACTERS.sub("", typed))
            if ESCAPE in self._waiting:
                self._waiting.clear()
                return ESCAPE
        return self._waiting.pop(0) if self._waiting else None

    def _read(self) -> str:
        try:
            typed = os.read(self._descriptor, _AT_ONCE)
        except OSError:
            typed = b""
        return typed.decode(errors="ignore") or ESCAPE


def _terminal(stream: TextIO | None) -> int | None:
    """The descriptor of a terminal that this process may read; None where there is none."""
    try:
        descriptor = (stream or sys.stdin).fileno()
        # In the background, touching the terminal would suspend the process.
        return descriptor if os.tcgetpgrp(descriptor) == os.getpgrp() else None
    except (AttributeError, OSError, ValueError):
        return None
