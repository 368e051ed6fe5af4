"""Storage for on-policy learning: the last steps of N environments in order, used once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from robobase.replay_buffer.replay_buffer import Observation
from robobase.resume_checks import expect, has_shape


class RolloutBuffer:
    """`length` steps of N environments, whole frame stacks included.

    The next observation of a step is that of the step after it. Only where the sum of rewards is
    cut off, by a truncation or by the end of the rollout, it is stored on its own.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        length: int,
        num_envs: int,
    ):
        lead = (length, num_envs)
        self._length, self._num_envs = length, num_envs
        self._observations = {
            key: np.zeros(lead + (space.shape or ()), space.dtype)
            for key, space in observation_space.items()
        }
        self._steps = {
            "action": np.zeros(lead + action_space.shape, np.float32),
            "reward": np.zeros(lead, np.float32),
            "terminal": np.zeros(lead, bool),
            "truncated": np.zeros(lead, bool),
        }
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._filled = 0  # steps
        self._cuts: list[np.ndarray] = [np.zeros(0, np.int64)]
        self._next = {key: [rows[0, :0]] for key, rows in self._observations.items()}

    def __len__(self) -> int:
        """Transitions of the rollout that is being collected."""
        return self._filled * self._num_envs

    def is_full(self) -> bool:
        """There is a rollout to learn from."""
        return self._filled == self._length

    def add(
        self,
        observation: Observation,
        action: np.ndarray,
        reward: np.ndarray,
        terminal: np.ndarray,
        truncated: np.ndarray,
        final_observation: Observation | None,
        following: Observation,
    ) -> None:
        """One vector step.

        Args:
            observation, action: (N, T, ...) and (N, S, A), what was done where.
            reward, terminal, truncated: (N,).
            final_observation: (N, T, ...), valid where an episode ended; None where none did.
            following: (N, T, ...), where the next step starts: of new episodes after an end.
        """
        assert not self.is_full(), "learn from the rollout before adding to it"
        t = self._filled
        for key, rows in observation.items():
            self._observations[key][t] = rows
        given = {"action": action, "reward": reward, "terminal": terminal, "truncated": truncated}
        for key, rows in given.items():
            self._steps[key][t] = rows
        self._filled += 1
        cut = ~terminal if self.is_full() else truncated & ~terminal
        lanes = np.flatnonzero(cut)
        if not len(lanes):
            return
        self._cuts.append(t * self._num_envs + lanes)
        ended = truncated[lanes]
        for key, kept in self._next.items():
            rows = following[key][lanes]
            if ended.any():
                assert final_observation is not None
                rows[ended] = final_observation[key][lanes[ended]]
            kept.append(rows)

    def batches(self, device: torch.device | str = "cpu") -> Iterator[dict[str, torch.Tensor]]:
        """Each full rollout once, as tensors on `device`; use them before adding the next steps.

        Observations, `action`, `reward`, `terminal` and `truncated` are `(length, N, ...)`.
        `<observation>_tp1` `(K, T, ...)` are the next observations of the steps `cuts` `(K,)`,
        which count through the flattened `(length * N)`.
        """
        while True:
            assert self.is_full(), "the rollout is not complete"
            rollout = self._observations | self._steps | self._joined_cuts()
            self.clear()
            yield {key: torch.from_numpy(rows).to(device) for key, rows in rollout.items()}

    def _joined_cuts(self) -> dict[str, np.ndarray]:
        joined = {f"{key}_tp1": np.concatenate(rows) for key, rows in self._next.items()}
        return joined | {"cuts": np.concatenate(self._cuts)}

    def state_dict(self) -> dict[str, Any]:
        """The unfinished rollout; tensors are views, so write them before adding more."""
        rows = self._observations | self._steps
        return {
            "steps": {key: torch.from_numpy(value[: self._filled]) for key, value in rows.items()},
            "next": {k: torch.from_numpy(value) for k, value in self._joined_cuts().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, with as many environments; empty if too long.

        Raises:
            ValueError: what `state_dict` does not give.
        """
        self._check(state)
        self.clear()
        filled = len(state["steps"]["reward"])
        if filled >= self._length:
            return
        self._filled = filled
        for key, rows in (self._observations | self._steps).items():
            rows[:filled] = state["steps"][key].numpy()
        self._cuts.append(state["next"]["cuts"].numpy())
        for key, kept in self._next.items():
            kept.append(state["next"][f"{key}_tp1"].numpy())

    def _check(self, state: Any) -> None:
        for group, rows in self.state_dict().items():
            stored: Any = state.get(group) if isinstance(state, dict) else None
            expect(isinstance(stored, dict) and stored.keys() == rows.keys(), f"rollout: {group}")
            for key, value in rows.items():
                there = stored[key]
                fits = isinstance(there, torch.Tensor) and there.ndim == value.ndim
                fits = fits and has_shape(there, (len(there), *value.shape[1:]))
                expect(fits and there.dtype == value.dtype, f"rollout: {key}")
            expect(len({len(there) for there in stored.values()}) == 1, f"rollout: {group}")
        cuts, filled = state["next"]["cuts"], len(state["steps"]["reward"])
        inside = (cuts >= 0) & (cuts < filled * self._num_envs)
        expect(bool(inside.all()), "rollout: cuts")
