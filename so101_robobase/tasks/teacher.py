"""What an expert is: asked at every step, whoever acts."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from so101_robobase.tasks.task import Task


class Teacher(ABC):
    """Follows the N episodes of a task; sees what a policy must not see.

    Args:
        task: its episodes.
    """

    def __init__(self, task: Task):
        self._task = task

    @abstractmethod
    def act(self) -> np.ndarray:
        """What it would do in the present states, (N, A) float32 in [-1, 1].

        Call it once per policy step.
        """

    def reset(self, ids: np.ndarray | None = None) -> None:
        """Members `ids` (default all) begin a new episode; nothing to do for who remembers none."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What it remembers of the running episodes."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()` of a teacher of as many episodes."""
        return None
