"""Successful training episodes as further demonstrations."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from robobase.replay_buffer.replay_buffer import ReplayBuffer
from robobase.resume_checks import expect, has_shape
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

    def load_state_dict(self, state: Any) -> None:
        """Go on with the episodes of `state_dict()`, of as many environments.

        Raises:
            ValueError: what `state_dict` does not give.
        """
        running: Any = state.get("running") if isinstance(state, dict) else None
        expect(isinstance(running, list) and len(running) == len(self._running), "self_imitation")
        for episode in running:
            expect(isinstance(episode, list | tuple), "self_imitation")
            for step in episode:
                self._check(step)
        self._running = [list(episode) for episode in running]

    def _check(self, step: Any) -> None:
        elements, observed = self._buffers[0].get_storage_signature()
        expect(isinstance(step, list | tuple) and len(step) == 5, "self_imitation")
        frame, action, *rest = step
        expect(isinstance(frame, dict) and frame.keys() == observed.keys(), "self_imitation")
        for key, element in observed.items():
            expect(has_shape(frame[key], tuple(element.shape)), f"self_imitation: {key}")
        expect(has_shape(action, tuple(elements["action"].shape)), "self_imitation: action")
        numbers = all(type(v) in (bool, int, float) and math.isfinite(v) for v in rest)
        expect(numbers, "self_imitation: steps")
