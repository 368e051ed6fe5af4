"""A ring of transitions, linked into episodes: storage and eviction, nothing about sampling.

Rows 0..capacity-1 hold transitions (observation, action, what came of it) in the order in which
they were added, whatever environment they came from. The observation that ends an episode has
no action; it takes one of the rows from `capacity` on, which are reused when their episode's
last transition is overwritten. `previous` and `next` lead from frame to frame of one episode,
so that any number of episodes can grow at once; at either end they lead to the row itself.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from robobase.errors import UserError
from robobase.replay_buffer.replay_buffer import ReplayElement
from robobase.replay_buffer.saved_store import check_store
from robobase.replay_buffer.shared_array import SharedArray, check_room


class EpisodeStore:
    """Columns of data by element name, and the links between their rows.

    Lanes are episodes that grow side by side: lane i continues where it was left, until
    `finish` closes its episode.
    """

    def __init__(
        self, capacity: int, elements: dict[str, ReplayElement], directory: Path | None = None
    ):
        self.capacity = capacity
        self.elements = elements
        row_bytes = sum(
            np.dtype(e.type).itemsize * int(np.prod(e.shape)) for e in elements.values()
        )
        check_room(capacity, row_bytes, directory)
        # as many final frames as transitions, should every episode have one step; final rows
        # take no memory before they are used, and are few
        self._columns = {
            name: SharedArray(
                (2 * capacity if e.is_observation else capacity, *e.shape),
                e.type,
                directory,
                reserve=capacity,
            )
            for name, e in elements.items()
        }
        self._links = SharedArray((3, 2 * capacity), np.int64)
        self._counters = SharedArray((3,), np.int64)
        self._free_finals: list[int] = []
        self._last_row: np.ndarray = np.empty(0, np.int64)  # (lanes,), -1 where no episode is open
        self._last_serial: np.ndarray = np.empty(
            0, np.int64
        )  # (lanes,), which addition wrote that row

    # previous, next and step are views made on demand: the store travels between processes

    @property
    def previous(self) -> np.ndarray:
        """Row of the frame before, or the row itself at the start or where that is overwritten."""
        return self._links.array[0]

    @property
    def next(self) -> np.ndarray:
        """Row of the frame after, or the row itself where there is none (yet)."""
        return self._links.array[1]

    @property
    def step(self) -> np.ndarray:
        """Time of the frame in its episode; 0 in a final row means that it is unused."""
        return self._links.array[2]

    @property
    def add_count(self) -> int:
        """Transitions ever added; the next one goes to row `add_count % capacity`."""
        return int(self._counters.array[0])

    @add_count.setter
    def add_count(self, value: int) -> None:
        self._counters.array[0] = value

    @property
    def num_episodes(self) -> int:
        """Episodes ever closed."""
        return int(self._counters.array[1])

    @property
    def _final_rows_used(self) -> int:
        return int(self._counters.array[2])

    def __len__(self) -> int:
        return min(self.add_count, self.capacity)

    def column(self, name: str) -> np.ndarray:
        """All rows of an element: (2 * capacity, *shape) of observations, else (capacity, ...)."""
        return self._columns[name].array

    def is_open(self, lane: int) -> bool:
        """Whether an episode is growing in `lane`."""
        return lane < len(self._last_row) and bool(self._continues([lane], self.add_count)[0])

    def abandon(self, lanes: slice | np.ndarray = slice(None)) -> None:
        """Stop the open episodes of `lanes` where they are, without a final observation."""
        self._last_row[lanes] = -1

    def _continues(self, lanes: Any, count: int) -> np.ndarray:
        """(n,) lanes with an open episode whose newest row survives until `count` additions."""
        # an idle lane's newest row may have been overwritten by the others
        kept = self._last_serial[lanes] + self.capacity >= count
        return (self._last_row[lanes] >= 0) & kept

    def append(self, lanes: np.ndarray, values: dict[str, np.ndarray]) -> np.ndarray:
        """Add one transition to each of `lanes` (n,); values are (n, *shape). Returns rows (n,)."""
        if lanes[-1] >= len(self._last_row):
            grow = int(lanes[-1]) + 1 - len(self._last_row)
            self._last_row = np.concatenate([self._last_row, np.full(grow, -1)])
            self._last_serial = np.concatenate([self._last_serial, np.zeros(grow, np.int64)])
        count, n = self.add_count, len(lanes)
        serials = count + np.arange(n)
        rows = serials % self.capacity
        self._evict(rows[max(0, self.capacity - count) :])
        last = self._last_row[lanes]
        continues = self._continues(lanes, count + n)
        self.previous[rows] = np.where(continues, last, rows)
        self.step[rows] = np.where(continues, self.step[last] + 1, 0)
        self.next[rows] = rows
        self.next[last[continues]] = rows[continues]
        for name, value in values.items():
            self.column(name)[rows] = value
        self._last_row[lanes], self._last_serial[lanes] = rows, serials
        self.add_count = count + n
        return rows

    def finish(self, lanes: np.ndarray, observation: dict[str, np.ndarray]) -> None:
        """Close the open episodes of `lanes` (n,) with their final observations (n, *shape)."""
        last = self._last_row[lanes]
        rows = self.capacity + np.array([self._final_row() for _ in lanes], dtype=np.int64)
        self.previous[rows], self.next[rows] = last, rows
        self.step[rows] = self.step[last] + 1
        self.next[last] = rows
        for name, value in observation.items():
            self.column(name)[rows] = value
        self._last_row[lanes] = -1
        self._counters.array[1] += len(lanes)

    def _final_row(self) -> int:
        if self._free_finals:
            return self._free_finals.pop()
        self._counters.array[2] += 1
        return self._final_rows_used - 1

    def _evict(self, rows: np.ndarray) -> None:
        """Cut the links into `rows`, which are about to be overwritten."""
        after = self.next[rows]
        after = after[after != rows]
        self.previous[after] = after
        finals = after[after >= self.capacity]
        self.step[finals] = 0
        self._free_finals.extend((finals - self.capacity).tolist())

    def back(self, rows: np.ndarray, steps: int) -> np.ndarray:
        """(n, steps + 1) rows of the frames up to and including `rows`, oldest first."""
        path = [rows]
        for _ in range(steps):
            path.append(self.previous[path[-1]])
        return np.stack(path[::-1], axis=1)

    def ahead(self, rows: np.ndarray, steps: int) -> np.ndarray:
        """(n, steps + 1) rows of the frames from `rows` on."""
        path = [rows]
        for _ in range(steps):
            path.append(self.next[path[-1]])
        return np.stack(path, axis=1)

    def closed_episodes(self) -> np.ndarray:
        """Final rows of the closed episodes of which a transition is left."""
        used = self.step[self.capacity : self.capacity + self._final_rows_used]
        return self.capacity + np.flatnonzero(used)

    def episode(self, final_row: int) -> np.ndarray | None:
        """(L + 1,) rows of a closed episode, or None if its beginning was overwritten."""
        if self.step[final_row] > len(self):
            return None
        rows = self.back(np.array([final_row]), int(self.step[final_row]))[0]
        return rows if self.step[rows[0]] == 0 else None

    def state_dict(self) -> dict[str, Any]:
        """The filled rows. Tensors are views: write them out before adding to the store."""
        filled, finals = len(self), slice(self.capacity, self.capacity + self._final_rows_used)
        return {
            "capacity": self.capacity,
            "counters": self._counters.array.tolist(),
            "columns": {k: torch.from_numpy(c.array[:filled]) for k, c in self._columns.items()},
            "finals": {
                name: torch.from_numpy(self.column(name)[finals])
                for name, element in self.elements.items()
                if element.is_observation
            },
            "links": torch.from_numpy(self._links.array[:, :filled].copy()),
            "final_links": torch.from_numpy(self._links.array[:, finals].copy()),
            "free_finals": list(self._free_finals),
            "last_row": self._last_row.tolist(),
            "last_serial": self._last_serial.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the contents; another capacity or other elements are a `UserError`.

        Raises ValueError, or what a wrong kind of value gives, for a state that is none.
        """
        if state["capacity"] != self.capacity:
            raise UserError(
                f"the saved replay has replay.size={state['capacity']}, this run has "
                f"{self.capacity}: set replay.size={state['capacity']}"
            )
        saved = {name: tuple(column.shape[1:]) for name, column in state["columns"].items()}
        here = {name: tuple(element.shape) for name, element in self.elements.items()}
        if saved != here:
            raise UserError(
                f"the saved replay holds {saved}, this run stores {here}: use the observation, "
                "action, demos and replay.prioritization settings it was saved with"
            )
        check_store(state, self.capacity, here)
        self._counters.array[:] = state["counters"]
        filled, finals = len(self), slice(self.capacity, self.capacity + self._final_rows_used)
        for name, column in state["columns"].items():
            self.column(name)[:filled] = column.numpy()
        for name, column in state["finals"].items():
            self.column(name)[finals] = column.numpy()
        self._links.array[:, :filled] = state["links"].numpy()
        self._links.array[:, finals] = state["final_links"].numpy()
        self._free_finals = list(state["free_finals"])
        self._last_row = np.array(state["last_row"], dtype=np.int64)
        self._last_serial = np.array(state["last_serial"], dtype=np.int64)
