"""Successful training episodes as further demonstrations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robobase.replay_buffer.replay_buffer import ReplayBuffer
from robobase.snapshot import to_plain

Rows = dict[str, np.ndarray]


class SelfImitation:
    """Collects the running episodes of N environments; those that succeed become demonstrations.

    They go into every one of `buffers`, marked `demo` = 1: into the one for demonstrations, and
    once more into that of all experience, as in RoboBase.
    """

    def __init__(self, buffers: Sequence[ReplayBuffer], num_envs: int):
        self._buffers = buffers
        self._running: list[list[tuple[Any, ...]]] = [[] for _ in range(num_envs)]

    def add(
        self,
        observation: Rows,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        final_observation: Rows | None,
        succeeded: np.ndarray,
    ) -> None:
        """One vector step: arrays (N, ...), `succeeded` (N,) for episodes that ended well in it."""
        for i, running in enumerate(self._running):
            step = {key: rows[i] for key, rows in observation.items()}
            running.append((step, action[i], reward[i], terminated[i], truncated[i]))
            if not (terminated[i] or truncated[i]):
                continue
            if succeeded[i]:
                assert final_observation is not None
                final = {key: rows[i] for key, rows in final_observation.items()}
                for buffer in self._buffers:
                    for transition in running:
                        buffer.add(*transition, demo=1)
                    buffer.add_final(final)
            self._running[i] = []

    def state_dict(self) -> dict[str, Any]:
        """The running episodes so far."""
        return {"running": to_plain(self._running)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the episodes of `state_dict()`, of as many environments."""
        self._running = [list(running) for running in state["running"]]
