"""A person at the terminal who is asked to move the arm."""

import time
from collections.abc import Callable

from so101_robobase.robot.person.keys import ESCAPE, terminal_keys

_REFRESH = 0.1  # s
_DONE, _LEAVE_OUT = ("\n", "\r", " "), ("s", ESCAPE)


class Terminal:
    """A `directions.Person`: Enter when it is done, s to leave it out."""

    def do(self, request: str, show: Callable[[], str]) -> bool:
        """Prints `request`, rewrites `show()` until a key says what to do."""
        print(f"{request}; then press Enter (s: leave it out)")
        with terminal_keys() as pressed:
            while (key := pressed()) not in (*_DONE, *_LEAVE_OUT):
                print(f"\r\x1b[K{show()}", end="", flush=True)
                time.sleep(_REFRESH)
        print("\r\x1b[K", end="", flush=True)
        return key in _DONE
