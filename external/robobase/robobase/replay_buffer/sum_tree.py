"""Sum tree: draw indices in proportion to their priority in O(log capacity)."""

import math
import random
from typing import Any

import numpy as np

from robobase.replay_buffer.shared_array import SharedArray


class SumTree:
    """Binary tree whose leaves are priorities and whose inner nodes are sums of their children.

    (Schaul et al. 2016, appendix B.2.1.) `nodes[k]` holds the 2^k doubles of level k; the memory
    is shared between processes. Randomness comes from Python's `random`.
    """

    def __init__(self, capacity: int):
        assert isinstance(capacity, int), f"capacity={capacity!r} must be an int"
        if capacity <= 0:
            raise ValueError(f"capacity={capacity} must be positive")
        self.capacity = capacity
        self._num_levels = math.ceil(math.log2(capacity)) + 1
        # every node in level order, then the largest priority seen
        self._memory = SharedArray((2**self._num_levels,), np.float64)
        self._memory.array[-1] = 1.0
        self.nodes = self._levels()

    def _levels(self) -> list[np.ndarray]:
        return [self._memory.array[2**k - 1 : 2 ** (k + 1) - 1] for k in range(self._num_levels)]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "nodes"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.nodes = self._levels()

    @property
    def max_recorded_priority(self) -> float:
        """Largest priority ever set; 1.0 at first."""
        return float(self._memory.array[-1])

    @max_recorded_priority.setter
    def max_recorded_priority(self, value: float) -> None:
        self._memory.array[-1] = value

    @property
    def total(self) -> float:
        """Sum of all priorities."""
        return float(self.nodes[0][0])

    def get(self, node_index: int) -> float:
        """Priority of a leaf."""
        return float(self.nodes[-1][node_index])

    def set(self, node_index: int, value: float) -> None:
        """Change the priority of a leaf; negative is a `ValueError`."""
        self.set_many(np.array([node_index]), np.array([value], dtype=np.float64))

    def set_many(self, indices: np.ndarray, values: np.ndarray) -> None:
        """Change the priorities of several leaves; of a repeated index the last value holds."""
        if np.any(values < 0) or not np.all(np.isfinite(values)):
            raise ValueError(f"priorities must be finite and not negative, got {values}")
        if not len(indices):
            return
        self.nodes[-1][indices] = values
        # sums are taken anew from the children: adding differences would let errors pile up
        for level in range(self._num_levels - 2, -1, -1):
            indices = np.unique(indices // 2)
            children = self.nodes[level + 1]
            self.nodes[level][indices] = children[2 * indices] + children[2 * indices + 1]
        self.max_recorded_priority = max(self.max_recorded_priority, float(np.max(values)))

    def sample(self, query_value: float | None = None) -> int:
        """The leaf at fraction `query_value` in [0, 1] of the total; at random if None."""
        if query_value is None:
            query_value = random.random()
        if not 0.0 <= query_value <= 1.0:
            raise ValueError(f"query_value={query_value} must lie in [0, 1]")
        return int(self._find(np.array([query_value]))[0])

    def stratified_sample(self, batch_size: int) -> list[int]:
        """`batch_size` leaves, one drawn from each equal share of the total."""
        edges = np.linspace(0.0, 1.0, batch_size + 1).tolist()
        queries = [random.uniform(edges[i], edges[i + 1]) for i in range(batch_size)]
        return self._find(np.array(queries)).tolist()

    def _find(self, queries: np.ndarray) -> np.ndarray:
        if self.total <= 0.0:
            raise Exception("cannot sample from an empty sum tree")
        remaining = queries * self.total
        index: np.ndarray = np.zeros(len(queries), dtype=np.int64)
        for level in self.nodes[1:]:
            left, right = level[2 * index], level[2 * index + 1]
            # rounding may carry a query past the last leaf that has a priority
            go_right = (remaining >= left) & (right > 0.0)
            remaining = np.where(go_right, remaining - left, remaining)
            index = 2 * index + go_right
        return index
