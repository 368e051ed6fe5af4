"""A CSV table that grows: new columns at any time, continued by a resumed run."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from robobase.errors import UserError
from robobase.reading import MIB, read_csv

Number = float | int
_MOST_BYTES = 512 * MIB


class MetricsCsv:
    """Appends rows of numbers to `path`; every row is on disk when `write` returns.

    A metric that appears for the first time adds a column: the file is rewritten beside the old
    one and moved over it, so a crash leaves one of the two. A metric that is missing leaves its
    cell empty. The first column is `step`.

    An existing file is continued. A run that resumes from a snapshot repeats the steps after it,
    so the first row written drops the rows from its own step on, and a line cut short by a kill
    is dropped too.
    """

    def __init__(self, path: Path):
        self.path = path
        self._columns = ["step"]
        self._continues = path.exists()
        if self._continues:
            self._columns = read_table(path)[0]

    def write(self, step: int, row: Mapping[str, Number]) -> None:
        """Append `row` as the values at `step`."""
        new_columns = [name for name in row if name not in self._columns]
        if self._continues or new_columns or not self.path.exists():
            self._rewrite([*self._columns, *new_columns], before=step if self._continues else None)
        values = {"step": _text(step), **{name: _text(value) for name, value in row.items()}}
        with self.path.open("a", newline="") as file:
            file.write(_line([values.get(name, "") for name in self._columns]))

    def _rewrite(self, columns: list[str], before: int | None) -> None:
        old_columns, rows = read_table(self.path) if self.path.exists() else (columns, [])
        if before is not None:
            rows = [row for row in rows if step_of(row, 0, self.path) < before]
        padding = [""] * (len(columns) - len(old_columns))
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        with temporary.open("w", newline="") as file:
            file.write(_line(columns))
            file.writelines(_line([*row, *padding]) for row in rows)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)
        self._columns = columns
        self._continues = False


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Columns and complete rows of the table at `path`, without a line that a kill cut short."""
    columns, rows = read_csv(path, _MOST_BYTES)
    columns = columns or ["step"]
    return columns, [row for row in rows if len(row) == len(columns)]


def step_of(row: list[str], column: int, path: Path) -> int:
    """The step of a row of the table at `path`. Raises UserError where it is no whole number."""
    try:
        return int(row[column])
    except ValueError as error:
        raise UserError(
            f"table {path} has a row of step {row[column][:20]!r}; mend or remove that row"
        ) from error


def _line(cells: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _text(value: Number) -> str:
    """The shortest text that reads back as the same number."""
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
