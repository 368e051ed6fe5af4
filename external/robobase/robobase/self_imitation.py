"""Successful training episodes as further demonstrations."""

from typing import Any

import numpy as np

from robobase.replay_buffer.replay_buffer import ReplayBuffer

Rows = dict[str, np.ndarray]


class SelfImitation:
    """Collects the running episodes of N environments; those that succeed become demonstrations."""

    def __init__(self, demo_replay: ReplayBuffer, num_envs: int):
        self._demo_replay = demo_replay
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
                for transition in running:
                    self._demo_replay.add(*transition, demo=1)
                self._demo_replay.add_final({k: rows[i] for k, rows in final_observation.items()})
            self._running[i] = []
