"""How far a run is: a bar on a terminal, lines in a file."""

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

_FIRST_LINE, _LINES = 10.0, 60.0  # s: until the first line, and between two of them


class ProgressBar:
    """A bar on a terminal; elsewhere a line of text now and then.

    Args:
        total, initial: steps of the whole, and of it done before.
        enabled: whether anything is shown.
    """

    def __init__(self, total: int, initial: int, enabled: bool = True):
        on_terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=initial,
            unit="step",
            dynamic_ncols=True,
            disable=not (enabled and on_terminal),
        )
        self._in_lines = enabled and not on_terminal
        self._total, self._first, self._done = total, initial, initial
        self._started = time.monotonic()
        self._next = self._started + _FIRST_LINE
        self._notes: Mapping[str, str] = {}

    def close(self) -> None:
        """Leave it as it is. Can be called twice."""
        self._bar.close()

    def note(self, **notes: str) -> None:
        """What is shown beside the steps from now on."""
        self._notes = notes
        self._bar.set_postfix(notes, refresh=False)

    def update(self, steps: int) -> None:
        """`steps` more are done."""
        self._done += steps
        self._bar.update(steps)
        now = time.monotonic()
        if self._in_lines and now >= self._next:
            self._next = now + _LINES
            print(self._line(now - self._started), flush=True)

    def _line(self, seconds: float) -> str:
        rate = (self._done - self._first) / seconds
        left = (self._total - self._done) / rate if rate > 0 else 0.0
        notes = "".join(f", {name} {value}" for name, value in self._notes.items())
        return (
            f"{self._done:,} of {self._total:,} steps ({self._done / self._total:.0%}), "
            f"{rate:.0f} steps/s, {_clock(seconds)} so far, {_clock(left)} to go{notes}"
        )


def _clock(seconds: float) -> str:
    return tqdm.format_interval(seconds)
