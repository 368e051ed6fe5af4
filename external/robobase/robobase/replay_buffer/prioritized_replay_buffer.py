"""Prioritised replay: transitions are drawn in proportion to their priority."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from robobase.errors import UserError
from robobase.replay_buffer.saved_store import check_priorities
from robobase.replay_buffer.sum_tree import SumTree
from robobase.replay_buffer.uniform_replay_buffer import UniformReplayBuffer

PRIORITY = "priority"
SAMPLING_PROBABILITIES = "sampling_probabilities"


class PrioritizedReplayBuffer(UniformReplayBuffer):
    """As `UniformReplayBuffer`, with a priority per transition (Schaul et al. 2016).

    Samples carry `sampling_probabilities`, the priority of the transition (not normalised).
    New transitions get the largest priority seen so far unless one is given.
    """

    def __init__(
        self, *args: Any, extra_replay_elements: gym.spaces.Dict | None = None, **kwargs: Any
    ):
        spaces = dict(extra_replay_elements.spaces) if extra_replay_elements else {}
        spaces[PRIORITY] = gym.spaces.Box(0.0, np.inf, (), np.float32)
        kwargs["extra_replay_elements"] = gym.spaces.Dict(spaces)
        super().__init__(*args, **kwargs)
        if self.sequential:
            raise UserError("sequential replay cannot be prioritised: set one of them to false")
        self.sum_tree = SumTree(self.replay_capacity)

    def add(self, *args: Any, priority: float | None = None, **kwargs: Any) -> None:
        """As `UniformReplayBuffer.add`, with the transition's priority."""
        if priority is None:
            priority = self.sum_tree.max_recorded_priority
        super().add(*args, priority=priority, **kwargs)

    def add_batch(self, *args: Any, priority: np.ndarray | None = None, **kwargs: Any) -> None:
        """As `UniformReplayBuffer.add_batch`, with priorities (N,)."""
        if priority is None:
            n = len(kwargs["terminal"] if "terminal" in kwargs else args[3])
            priority = np.full(n, self.sum_tree.max_recorded_priority, np.float32)
        super().add_batch(*args, priority=priority, **kwargs)

    def _append(self, lanes: np.ndarray, values: dict[str, np.ndarray]) -> np.ndarray:
        with self._lock:
            _check_priorities(values[PRIORITY])
            rows = super()._append(lanes, values)
            self.sum_tree.set_many(rows, values[PRIORITY].astype(np.float64))
        return rows

    def get_priority(self, indices: np.ndarray) -> np.ndarray:
        """(n,) float32 priorities; `indices` must be an int32 array (`AssertionError`)."""
        assert isinstance(indices, np.ndarray), f"indices must be an array, got {indices!r}"
        assert indices.dtype == np.int32, f"indices must be int32, got {indices.dtype}"
        return self.sum_tree.nodes[-1][indices % self.replay_capacity].astype(np.float32)

    def set_priority(self, indices: np.ndarray, priorities: np.ndarray) -> None:
        """Change priorities (n,) of transitions (n,); any integer dtype, indices wrap around."""
        assert np.issubdtype(np.asarray(indices).dtype, np.integer), "indices must be integers"
        rows = np.asarray(indices).astype(np.int64) % self.replay_capacity
        values = np.asarray(priorities, dtype=np.float64)
        with self._lock:
            self.sum_tree.set_many(rows, values)
            self._store.column(PRIORITY)[rows] = values

    def _propose(self, n: int) -> np.ndarray:
        return np.array(self.sum_tree.stratified_sample(n), dtype=np.int64)

    def _choose(self, starts: np.ndarray, n: int) -> np.ndarray:
        priorities = self.sum_tree.nodes[-1][starts]
        if not priorities.sum() > 0:
            raise UserError("every transition that could be sampled has priority 0")
        return self.rng.choice(starts, n, p=priorities / priorities.sum())

    def _gather(self, starts: np.ndarray) -> dict[str, np.ndarray]:
        batch = super()._gather(starts)
        batch[SAMPLING_PROBABILITIES] = self.sum_tree.nodes[-1][starts].astype(np.float32)
        return batch

    def state_dict(self) -> dict[str, Any]:
        priorities = self.sum_tree.nodes[-1][: len(self)].copy()
        return {
            **super().state_dict(),
            "priorities": torch.from_numpy(priorities),
            "max_priority": self.sum_tree.max_recorded_priority,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        check_priorities(state["priorities"], state["max_priority"], len(self))
        priorities = state["priorities"].numpy()
        with self._lock:
            self.sum_tree.set_many(np.arange(len(priorities)), priorities)
            self.sum_tree.max_recorded_priority = state["max_priority"]


def _check_priorities(priorities: np.ndarray) -> None:
    if np.any(priorities < 0) or not np.all(np.isfinite(priorities)):
        raise UserError(f"priorities must be finite and not negative, got {priorities}")
