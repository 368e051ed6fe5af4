"""Values that arrive a whole number of control steps late, by a delay of each row's own."""

from typing import ClassVar

import numpy as np

from so101_robobase.base.remembers import Remembers


class DelayLine(Remembers):
    """The latest values of N rows, so that each row can be read some steps late.

    Args:
        num_rows: N.
        width: numbers per value.
        longest: greatest delay that will be asked for, steps.
    """

    remembered: ClassVar = {"past": "_past"}

    def __init__(self, num_rows: int, width: int, longest: int):
        self._past = np.zeros((longest + 1, num_rows, width))  # newest first
        self._row = np.arange(num_rows)

    def fill(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Nothing but `values` (n, width) has ever been in `rows` (n,)."""
        self._past[:, rows] = values

    def push(self, rows: np.ndarray, values: np.ndarray) -> None:
        """One step later, `values` (N, width) are the newest of `rows` (N,) bool; others wait."""
        self._past[1:, rows] = self._past[:-1, rows]
        self._past[0, rows] = values[rows]

    def read(self, delay: np.ndarray) -> np.ndarray:
        """Values (N, width) of `delay` (N,) steps ago."""
        return self._past[delay, self._row]
