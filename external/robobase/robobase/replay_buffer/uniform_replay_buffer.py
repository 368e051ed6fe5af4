"""Uniform replay: every transition in memory is equally likely, frames are stored once."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import get_worker_info

from robobase.errors import UserError
from robobase.replay_buffer import sequences
from robobase.replay_buffer.episode_store import EpisodeStore
from robobase.replay_buffer.replay_buffer import Observation, ReplayBuffer, ReplayElement
from robobase.replay_buffer.signature import (
    ACTION,
    REWARD,
    TERMINAL,
    TRUNCATED,
    StepSignature,
    frame_stack_of,
    single_frames,
)
from robobase.replay_buffer.transitions import TransitionSampler

INDICES = "indices"
IS_FIRST = "is_first"
DISCOUNT = "discount"

Episode = dict[str, np.ndarray]

_SINGLE_LANE = np.array([0])  # of `add`; environment i of `add_batch` has lane i + 1


def episode_len(episode: Episode) -> int:
    """Transitions in an episode of L + 1 rows."""
    return len(next(iter(episode.values()))) - 1


def save_episode(episode: Episode, path: str | Path) -> None:
    """Write an episode as compressed npz."""
    with open(path, "wb") as file:
        np.savez_compressed(file, **episode)  # type: ignore[arg-type]


def load_episode(path: str | Path) -> Episode:
    """Read what `save_episode` wrote."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


class UniformReplayBuffer(ReplayBuffer):
    """Replay in shared memory, sampled uniformly over transitions with n-step returns.

    A sample holds, for a start row t drawn uniformly among those whose n-step window lies
    within the episode (or the first row of an episode shorter than n):

    | key | shape | meaning |
    |---|---|---|
    | observation keys | (T, *frame) | frames t-T+1..t, the first one repeated at the start |
    | observation keys + `_tp1` | (T, *frame) | the same, m steps later |
    | `action` | (S, *a) | actions t..t+S-1, zeros past the end of the episode |
    | `reward` | reward_shape | sum over k < m of gamma^k r_{t+k+1} |
    | `terminal`, `truncated` | () int8 | flags of the window's last step |
    | `discount` | () float32 | gamma^m |
    | `indices` | () int64 | row of the transition |
    | extras | theirs | values at t |

    where m = min(nstep, steps left in the episode). An episode that is still growing takes part
    as soon as a window is complete; its last transitions wait for the next observation.

    Args:
        batch_size: samples per batch.
        replay_capacity: transitions kept; the oldest are overwritten.
        nstep, gamma: window and discount of the return.
        action_shape: (S, *a), S being the length of action sequences.
        observation_elements: Dict of *stacked* spaces, (T, *frame); single frames are stored.
        extra_replay_elements: Dict of further values given at each step.
        save_dir: folder of the memory-mapped file.
        memory_mapped: keep the data in a nameless file (in `save_dir` or the temporary folder)
            instead of memory, for buffers larger than memory.
        preprocessing_fn: functions from sample to sample, applied in turn to each single one.
        sequential, transition_seq_len: sample sequences of consecutive rows, see `sequences`.
        seed: of the sampling; None draws one from numpy's global generator.
        purge_replay_on_shutdown, preprocess_every_sample, num_workers, fetch_every: accepted
            for configs written for RoboBase. Nothing outlives the process, and workers share
            the memory, so there is nothing to purge or to fetch.

    Raises:
        UserError: capacity too small for one window, or more than memory (or disk) can hold.
    """

    def __init__(
        self,
        batch_size: int = 32,
        replay_capacity: int = 1_000_000,
        nstep: int = 1,
        gamma: float = 0.99,
        action_shape: tuple[int, ...] = (),
        action_dtype: npt.DTypeLike = np.float32,
        reward_shape: tuple[int, ...] = (),
        reward_dtype: npt.DTypeLike = np.float32,
        observation_elements: gym.spaces.Dict | None = None,
        extra_replay_elements: gym.spaces.Dict | None = None,
        save_dir: str | None = None,
        purge_replay_on_shutdown: bool = True,
        preprocessing_fn: list[Callable[[dict], dict]] | None = None,
        preprocess_every_sample: bool = False,
        num_workers: int = 0,
        fetch_every: int = 100,
        sequential: bool = False,
        transition_seq_len: int = 1,
        memory_mapped: bool = False,
        seed: int | None = None,
    ):
        self._frame_stacks = frame_stack_of(observation_elements)
        self._action_seq_len = action_shape[0] if len(action_shape) else 1
        self._nstep = 1 if sequential else nstep
        self._batch_size, self._capacity = batch_size, replay_capacity
        self._sequential, self._seq_len = sequential, transition_seq_len
        if sequential and self._action_seq_len != 1:
            raise UserError(
                f"sequential replay has single actions, got action_shape={action_shape}: "
                "set action_sequence=1"
            )
        self._check_capacity(1)
        assert observation_elements is not None
        self.observation_elements = single_frames(observation_elements)
        self.extra_replay_elements = extra_replay_elements or gym.spaces.Dict()
        self._signature = StepSignature(
            (tuple(action_shape[1:]), action_dtype),
            (tuple(reward_shape), reward_dtype),
            self.observation_elements,
            self.extra_replay_elements,
        )
        directory = None
        if memory_mapped:
            directory = Path(save_dir) if save_dir else Path(tempfile.gettempdir())
        self._store = EpisodeStore(replay_capacity, self._signature.elements, directory)
        self._transitions = TransitionSampler(
            self._store, self._nstep, gamma, self._frame_stacks, self._action_seq_len
        )
        self._preprocessing = list(preprocessing_fn or ())
        if seed is None:
            seed = int(np.random.randint(2**31))  # noqa: NPY002 - follows set_seed_everywhere
        self.rng = np.random.default_rng(seed)
        # writers and readers are different processes when a DataLoader has workers
        self._lock = multiprocessing.get_context("spawn").RLock()
        self._awaits_final = False

    # ---- properties -------------------------------------------------------------------------

    @property
    def frame_stack(self) -> int:
        """T, frames in an observation."""
        return self._frame_stacks

    @property
    def action_seq(self) -> int:
        """S, actions in an action sequence."""
        return self._action_seq_len

    @property
    def replay_capacity(self) -> int:
        return self._capacity

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @property
    def sequential(self) -> bool:
        """Whether samples are sequences."""
        return self._sequential

    @property
    def add_count(self) -> int:
        """Transitions ever added, in all processes."""
        return self._store.add_count

    @add_count.setter
    def add_count(self, count: int) -> None:
        self._store.add_count = int(count)

    @property
    def _num_episodes(self) -> int:
        return self._store.num_episodes

    def __len__(self) -> int:
        return len(self._store)

    def is_empty(self) -> bool:
        return self.add_count == 0

    def is_full(self) -> bool:
        return self.add_count >= self._capacity

    def get_storage_signature(self) -> tuple[dict[str, ReplayElement], dict[str, ReplayElement]]:
        return dict(self._signature.elements), dict(self._signature.observations)

    # ---- adding -----------------------------------------------------------------------------

    def add(
        self,
        observation: Observation,
        action: Any,
        reward: Any,
        terminal: Any,
        truncated: Any,
        **kwargs: Any,
    ) -> None:
        """Add a step of the current episode: single frame, single action, no stacks.

        After a step that is terminal or truncated `add_final` must follow.

        Raises:
            ValueError: missing or surplus elements, wrong shapes, or an episode that ended.
        """
        if self._awaits_final:
            raise UserError("the episode has ended: call add_final(observation) before add(...)")
        values = self._signature.collect(
            {
                ACTION: action,
                REWARD: reward,
                TERMINAL: terminal,
                TRUNCATED: truncated,
                **observation,
                **kwargs,
            }
        )
        self._append(_SINGLE_LANE, {name: value[None] for name, value in values.items()})
        self._awaits_final = bool(terminal) or bool(truncated)

    def add_final(self, final_observation: Observation) -> None:
        """Close the episode begun with `add`; `ValueError` unless its last step ended it."""
        if not self._store.is_open(0):
            raise UserError("there is no episode to close: call add(...) first")
        if not self._awaits_final:
            raise UserError("the last step was neither terminal nor truncated: add its end first")
        final = self._signature.collect_final(final_observation)
        with self._lock:
            self._store.finish(_SINGLE_LANE, {name: value[None] for name, value in final.items()})
        self._awaits_final = False

    def add_batch(
        self,
        observation: Observation,
        action: np.ndarray,
        reward: np.ndarray,
        terminal: np.ndarray,
        truncated: np.ndarray,
        final_observation: Observation | None = None,
        **extras: np.ndarray,
    ) -> None:
        """Add one step of each of N environments; everything has a leading axis N.

        Environment i continues the episode of its previous call. Where `terminal` or
        `truncated`, its episode is closed with `final_observation[key][i]` (other rows are not
        read), and the next call begins a new one.

        Raises:
            ValueError: as `add`; an ended episode without `final_observation`; a capacity too
                small for N environments.
        """
        n = len(np.asarray(terminal))
        self._check_capacity(n)
        values = self._signature.collect(
            {
                ACTION: action,
                REWARD: reward,
                TERMINAL: terminal,
                TRUNCATED: truncated,
                **observation,
                **extras,
            },
            (n,),
        )
        done = np.flatnonzero(values[TERMINAL].astype(bool) | values[TRUNCATED].astype(bool))
        final: Observation = {}
        if len(done):
            if final_observation is None:
                raise UserError(f"environments {done} ended a step: give final_observation")
            final = self._signature.collect_final(final_observation, (n,))
        lanes = 1 + np.arange(n)
        with self._lock:
            self._append(lanes, values)
            if len(done):
                self._store.finish(lanes[done], {key: rows[done] for key, rows in final.items()})

    def abandon_open_episodes(self) -> None:
        """Forget how far unfinished episodes have come, when their environments are reset.

        What they have added stays; the next additions begin new episodes.
        """
        with self._lock:
            self._store.abandon()
        self._awaits_final = False

    def _append(self, lanes: np.ndarray, values: dict[str, np.ndarray]) -> np.ndarray:
        with self._lock:
            return self._store.append(lanes, values)

    def _check_capacity(self, num_envs: int) -> None:
        if self._sequential:
            window, names = self._nstep + self._seq_len, "nstep + transition_seq_len"
        else:
            window, names = self._nstep + self._frame_stacks, "nstep + frame_stack"
        if self._capacity < window * num_envs:
            raise UserError(
                f"There is not enough capacity: replay.size={self._capacity}, but {names} for "
                f"{num_envs} environment(s) takes {window * num_envs}"
            )

    # ---- sampling ---------------------------------------------------------------------------

    def sample(self, batch_size: int | None = None, indices: Any = None) -> dict[str, np.ndarray]:
        """`batch_size` samples, or those that start at `indices`, as arrays (B, ...).

        Explicit indices may lie anywhere: windows are clamped at the end of the episode, and
        frames already overwritten are replaced by the oldest left.

        Raises:
            ValueError: nothing to sample yet; as many indices as `batch_size` are needed.
        """
        if batch_size is None:
            batch_size = self._batch_size if indices is None else len(indices)
        if indices is not None and len(indices) != batch_size:
            raise UserError(f"{len(indices)} indices were given for batch_size={batch_size}")
        with self._lock:
            if self._sequential:
                rows = [
                    sequences.draw_sequence(self._store, self.rng, self._seq_len)
                    for _ in range(batch_size)
                ]
                sample = sequences.gather_sequences(
                    self._store, np.stack(rows), self.extra_replay_elements.spaces
                )
                sample[ACTION] = sample[ACTION][:, :, None]
            else:
                if indices is None:
                    starts = self._draw_starts(batch_size)
                else:
                    starts = self._transitions.check(np.asarray(indices))
                sample = self._gather(starts)
        if self._preprocessing:
            return _stack([self._preprocess(single) for single in _singles(sample)])
        return sample

    def sample_single(self, global_index: int | None = None) -> dict[str, Any]:
        """One sample without batch axis, at random or starting at `global_index`."""
        indices = None if global_index is None else [global_index]
        return next(_singles(self.sample(1, indices)))

    def _draw_starts(self, batch_size: int) -> np.ndarray:
        return self._transitions.draw(batch_size, self._propose, self._choose)

    def _propose(self, n: int) -> np.ndarray:
        return self.rng.integers(0, len(self._store), n)

    def _choose(self, starts: np.ndarray, n: int) -> np.ndarray:
        return self.rng.choice(starts, n)

    def _gather(self, starts: np.ndarray) -> dict[str, np.ndarray]:
        return self._transitions.gather(starts, self.extra_replay_elements.spaces)

    def _preprocess(self, sample: dict[str, Any]) -> dict[str, Any]:
        for function in self._preprocessing:
            sample = function(sample)
        return sample

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Endless single samples, for `torch.utils.data.DataLoader`.

        A worker process waits until something can be sampled, since another process adds; in
        the process that adds, that is a `UserError`.
        """
        worker = get_worker_info()
        if worker is not None:
            self.rng = np.random.default_rng(worker.seed)
            while not self._is_ready():
                time.sleep(0.01)
        while True:
            # drawn a batch at a time: a single draw costs nearly as much as a batch of them
            yield from _singles(self.sample(self._batch_size))

    def _is_ready(self) -> bool:
        try:
            self.sample(1)
        except UserError:
            return False
        return True

    def batches(self, device: torch.device | str = "cpu") -> Iterator[dict[str, torch.Tensor]]:
        """Endless batches on `device`; the copy to a GPU goes on while the caller continues."""
        device = torch.device(device)
        while True:
            batch = {key: torch.from_numpy(rows) for key, rows in self.sample().items()}
            if device.type == "cuda":
                batch = {
                    key: rows.pin_memory().to(device, non_blocking=True)
                    for key, rows in batch.items()
                }
            yield {key: rows.to(device) for key, rows in batch.items()}

    # ---- episodes ---------------------------------------------------------------------------

    def _try_fetch(self) -> None:
        """Nothing to fetch: every process sees the same memory."""

    def _sample_episode(self) -> tuple[Episode, int]:
        """(a random closed episode of L + 1 rows, global index of its first transition)."""
        with self._lock:
            rows = sequences.draw_episode(self._store, self.rng)
            episode = {}
            for name, element in self._signature.elements.items():
                if element.is_observation:
                    episode[name] = self._store.column(name)[rows]
                else:
                    values = self._store.column(name)[rows[:-1]]
                    episode[name] = np.concatenate([values, np.zeros_like(values[:1])])
        if self._sequential:
            episode = self.convert_episode_layout(episode)
        return episode, int(rows[0])

    def convert_episode_layout(self, episode: Episode) -> Episode:
        """Rows of (observation, action that led to it), for sequential buffers."""
        if not self._sequential:
            raise NotImplementedError("only sequential buffers have another episode layout")
        return sequences.convert_layout(episode, self.observation_elements.spaces)

    # ---- state ------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Contents and sampling state; tensors are views, so write them before adding more."""
        return {
            "store": self._store.state_dict(),
            "rng": self.rng.bit_generator.state,
            "awaits_final": self._awaits_final,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            UserError: saved with another capacity or other elements.
        """
        with self._lock:
            self._store.load_state_dict(state["store"])
        self.rng.bit_generator.state = state["rng"]
        self._awaits_final = bool(state["awaits_final"])

    def shutdown(self) -> None:
        """Nothing to remove: memory and nameless file go with the last process using them."""


def _singles(batch: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    for i in range(len(next(iter(batch.values())))):
        yield {key: rows[i] for key, rows in batch.items()}


def _stack(samples: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
