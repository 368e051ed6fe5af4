"""Keys pressed in the terminal, without waiting for them and without a window system."""

import contextlib
import select
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

ESCAPE = "\x1b"

Keys = Callable[[], str | None]
"""Returns the next key pressed since the last call, None where there is none."""


def no_keys() -> None:
    """Nobody sits there."""
    return


@contextlib.contextmanager
def terminal_keys(stream: TextIO | None = None) -> Iterator[Keys]:
    """Reads single keys from `stream` (default: standard input) while the block runs.

    Arrow and function keys, which arrive as several characters, are swallowed. Where the stream is
    no terminal, there are no keys. The terminal is put back whatever happens.
    """
    stream = stream or sys.stdin
    try:
        import termios
        import tty

        descriptor = stream.fileno()
        before = termios.tcgetattr(descriptor)
    except (ImportError, OSError, ValueError, termios.error):
        yield no_keys
        return

    import os

    def pressed() -> str | None:
        while select.select([descriptor], [], [], 0)[0]:
            typed = os.read(descriptor, 32).decode(errors="ignore")
            if not typed:
                return None  # end of input
            if len(typed) > 1 and typed[0] == ESCAPE:
                continue  # an arrow or function key
            waiting.extend(typed)
            break
        return waiting.pop(0) if waiting else None

    waiting: list[str] = []
    tty.setcbreak(descriptor)  # Ctrl-C still interrupts
    try:
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
