"""n-step transitions of an `EpisodeStore`: which rows may start one, and how to gather them."""

from collections.abc import Callable, Container

import numpy as np

from robobase.errors import UserError
from robobase.replay_buffer.array_pool import ArrayPool
from robobase.replay_buffer.episode_store import EpisodeStore

# Redraws before all rows are searched for starts. At one start in ten rows (many episodes of
# about n steps) a batch of 256 still needs the search less than once in three times.
_MAX_REDRAWS = 64


class TransitionSampler:
    """Gathers stacks of frames, n-step returns and action sequences from start rows."""

    def __init__(
        self, store: EpisodeStore, nstep: int, gamma: float, frame_stack: int, action_seq: int
    ):
        self._store = store
        self._nstep = nstep
        self._frame_stack = frame_stack
        self._action_seq = action_seq
        self._horizon = max(nstep, action_seq - 1)
        self._pool = ArrayPool()
        self._gammas = np.power(gamma, np.arange(nstep + 1))

    def is_start(self, rows: np.ndarray) -> np.ndarray:
        """(n,) bool: all frames of the stack are there, and the window ahead is complete.

        A window is complete with n steps, or if it covers an episode shorter than n from its
        first row. Rows of an action sequence must be known or lie past the episode's end.
        """
        store = self._store
        oldest = store.back(rows, self._frame_stack - 1)[:, 0]
        has_stack = store.step[oldest] == np.maximum(store.step[rows] - self._frame_stack + 1, 0)
        ahead = store.ahead(rows, self._horizon)
        is_full = store.step[ahead[:, self._nstep]] - store.step[rows] == self._nstep
        is_short = (ahead[:, self._nstep] >= store.capacity) & (store.step[rows] == 0)
        known = store.step[ahead[:, -1]] - store.step[rows] == self._horizon
        ended = ahead[:, -1] >= store.capacity
        return has_stack & (is_full | is_short) & (known | ended)

    def draw(
        self,
        n: int,
        propose: Callable[[int], np.ndarray],
        choose: Callable[[np.ndarray, int], np.ndarray],
    ) -> np.ndarray:
        """(n,) start rows: proposals until they are starts; if those are rare, `choose` picks.

        `propose(k)` draws k rows; `choose(starts, k)` draws k of all starts, with the same
        relative probabilities. `UserError` if there is no start at all.
        """
        if not len(self._store):
            raise UserError("the replay buffer is empty: add transitions before sampling")
        rows = propose(n)
        bad = np.flatnonzero(~self.is_start(rows))
        for _ in range(_MAX_REDRAWS):
            if not len(bad):
                return rows
            rows[bad] = propose(len(bad))
            bad = bad[~self.is_start(rows[bad])]
        everything = np.arange(len(self._store))
        starts = everything[self.is_start(everything)]
        if not len(starts):
            raise UserError(
                f"none of the {len(self._store)} transitions in the replay buffer has a complete "
                f"{self._nstep}-step window yet: add more steps before sampling"
            )
        rows[bad] = choose(starts, len(bad))
        return rows

    def check(self, rows: np.ndarray) -> np.ndarray:
        """`rows` if each holds a transition whose next observation is known, else `UserError`."""
        outside = rows[(rows < 0) | (rows >= len(self._store))]
        if len(outside):
            raise UserError(f"indices {outside} are outside 0..{len(self._store) - 1}")
        unknown = rows[self._store.next[rows] == rows]
        if len(unknown):
            raise UserError(f"transitions {unknown} have no next observation yet")
        return rows.astype(np.int64)

    def gather(self, starts: np.ndarray, extras: Container[str]) -> dict[str, np.ndarray]:
        """The batch that `UniformReplayBuffer` documents, for start rows (B,)."""
        store, n = self._store, self._nstep
        ahead = store.ahead(starts, self._horizon)
        offset = np.arange(self._horizon + 1)
        elapsed = store.step[ahead] - store.step[starts, None]
        length = elapsed[:, n]  # (B,) m = min(n, steps left)
        in_window = offset[:n] < length[:, None]
        last = np.take_along_axis(ahead, length[:, None] - 1, axis=1)[:, 0]
        end = np.take_along_axis(ahead, length[:, None], axis=1)[:, 0]

        batch = {}
        for name, element in store.elements.items():
            column = store.column(name)
            if element.is_observation:
                batch[name], batch[f"{name}_tp1"] = self._stacks(column, starts, end, length)
            elif name in extras:
                batch[name] = column[starts]
        sequence = ahead[:, : self._action_seq]
        has_action = (sequence < store.capacity) & (
            elapsed[:, : self._action_seq] == offset[: self._action_seq]
        )
        actions = store.column("action")[np.where(has_action, sequence, 0)]
        actions[~has_action] = 0
        batch["action"] = actions
        rewards = store.column("reward")[np.where(in_window, ahead[:, :n], starts[:, None])]
        weights = np.where(in_window, self._gammas[:n], 0.0)
        batch["reward"] = np.einsum("bk,bk...->b...", weights, rewards).astype(rewards.dtype)
        batch["terminal"] = store.column("terminal")[last]
        batch["truncated"] = store.column("truncated")[last]
        batch["discount"] = self._gammas[length].astype(np.float32)
        batch["indices"] = starts
        return batch

    def _stacks(
        self, column: np.ndarray, starts: np.ndarray, end: np.ndarray, length: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Stacks of frames (B, T, *frame) that end at `starts` and at `end`."""
        stack, n = self._frame_stack, self._nstep
        now = self._store.back(starts, stack - 1)
        later = self._store.back(end, stack - 1)
        if n < stack and np.all(length == n):
            # the two overlap: gather their union once, the stacks are views of it
            frames = self._take(column, np.concatenate([now, later[:, stack - n :]], axis=1))
            return frames[:, :stack], frames[:, n:]
        return self._take(column, now), self._take(column, later)

    def _take(self, column: np.ndarray, rows: np.ndarray) -> np.ndarray:
        out = self._pool.empty(rows.shape + column.shape[1:], column.dtype)
        # with mode="raise" numpy would gather into a buffer of its own first
        return np.take(column, rows, axis=0, out=out, mode="clip")
