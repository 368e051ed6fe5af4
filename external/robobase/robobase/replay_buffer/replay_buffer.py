"""The surface that every replay buffer has, whatever its storage and its way of sampling."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset

Observation = dict[str, np.ndarray]


@dataclass(frozen=True)
class ReplayElement:
    """Name, shape (one step, without batch) and dtype of something stored at each step."""

    name: str
    shape: tuple[int, ...]
    type: Any
    is_observation: bool = False


class ReplayBuffer(IterableDataset, ABC):
    """Stores episodes step by step and samples transitions; iterates over single samples."""

    @property
    @abstractmethod
    def replay_capacity(self) -> int:
        """Transitions that fit."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Samples drawn at a time unless told otherwise."""

    @abstractmethod
    def get_storage_signature(self) -> tuple[dict[str, ReplayElement], dict[str, ReplayElement]]:
        """(everything stored at each step, the observations among it), by name."""

    @abstractmethod
    def add(
        self,
        observation: Observation,
        action: Any,
        reward: Any,
        terminal: Any,
        truncated: Any,
        **kwargs: Any,
    ) -> None:
        """Add one step: an observation, the action taken there and what came of it."""

    @abstractmethod
    def add_final(self, final_observation: Observation) -> None:
        """Close the episode with the observation after its last action."""

    @abstractmethod
    def is_empty(self) -> bool:
        """Nothing was added yet."""

    @abstractmethod
    def is_full(self) -> bool:
        """The next addition overwrites the oldest."""

    @abstractmethod
    def sample(self, batch_size: int | None = None, indices: Any = None) -> dict[str, np.ndarray]:
        """A batch of arrays with leading axis B."""

    @abstractmethod
    def shutdown(self) -> None:
        """Release the storage; may be called twice."""
