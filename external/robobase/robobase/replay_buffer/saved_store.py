"""Whether the saved contents of a replay buffer are some: they may come from anybody's file.

Everything here raises ValueError for what does not fit.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from robobase.resume_checks import expect, has_shape, is_count


def check_store(state: Any, capacity: int, row_shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Rows of a replay buffer and the links between them: every link leads to a row that is there.

    Args:
        capacity: of the buffer.
        row_shapes: shape of a row of every element by its name.
    """
    counters = state["counters"]
    expect(isinstance(counters, list) and len(counters) == 3, "replay: counters")
    added, episodes, finals = counters
    expect(all(map(is_count, counters)) and finals <= capacity, "replay: counters")
    expect(episodes <= added, "replay: counters")
    filled = min(added, capacity)
    for name, shape in row_shapes.items():
        for group, rows in (("columns", filled), ("finals", finals)):
            if group == "finals" and name not in state[group]:
                continue  # not of an observation
            column = state[group][name]
            expect(has_shape(column, (rows, *shape)), f"replay: {name}")
    for name, rows in (("links", filled), ("final_links", finals)):
        links = state[name]
        expect(links.shape == (3, rows) and links.dtype == torch.int64, f"replay: {name}")
        previous, following, step = links.numpy()
        for rows_of in (previous, following):
            inside = (rows_of >= 0) & (
                (rows_of < filled) | ((rows_of >= capacity) & (rows_of < capacity + finals))
            )
            expect(bool(inside.all()), f"replay: {name}")
        expect(bool(((step >= 0) & (step <= added)).all()), f"replay: {name}")
    free = state["free_finals"]
    expect(isinstance(free, list) and len(set(free)) == len(free), "replay: free_finals")
    expect(all(is_count(row) and row < finals for row in free), "replay: free_finals")
    last, serials = state["last_row"], state["last_serial"]
    expect(isinstance(last, list) and isinstance(serials, list), "replay: last_row")
    expect(len(last) == len(serials) and len(last) < 10**6, "replay: last_row")
    expect(all(type(row) is int and -1 <= row < filled for row in last), "replay: last_row")
    expect(all(is_count(serial) and serial <= added for serial in serials), "replay: last_serial")


def check_priorities(priorities: Any, greatest: Any, filled: int) -> None:
    """Priorities (filled,) of a prioritised buffer, and the greatest there ever was."""
    expect(isinstance(priorities, torch.Tensor) and priorities.shape == (filled,), "priorities")
    values = priorities.numpy()
    expect(bool(np.isfinite(values).all() and (values >= 0).all()), "replay: priorities")
    expect(type(greatest) in (int, float) and 0 <= greatest < math.inf, "replay: max_priority")
