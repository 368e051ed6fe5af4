"""Sequential sampling: K consecutive rows of one episode, running on into others at its end."""

from typing import Any

import numpy as np

from robobase.errors import UserError
from robobase.replay_buffer.episode_store import EpisodeStore


def convert_layout(episode: dict[str, np.ndarray], observations: Any) -> dict[str, np.ndarray]:
    """Shift all but the observations one row later (first row zeros).

    Each row then holds an observation and the action that led to it.
    """
    shifted = {}
    for name, rows in episode.items():
        if name in observations:
            shifted[name] = rows
        else:
            shifted[name] = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    return shifted


def draw_episode(store: EpisodeStore, rng: np.random.Generator) -> np.ndarray:
    """(L + 1,) rows of a closed episode, each equally likely; `UserError` if there is none."""
    for final_row in rng.permutation(store.closed_episodes()):
        rows = store.episode(final_row)
        if rows is not None:
            return rows
    raise UserError(
        f"no complete episode among the last {len(store)} transitions: add episodes that are "
        f"shorter than replay.size={store.capacity}"
    )


def draw_sequence(store: EpisodeStore, rng: np.random.Generator, length: int) -> np.ndarray:
    """(length,) rows of a random sequence, across episodes where it passes the end of one."""
    rows = draw_episode(store, rng)
    end = int(rng.integers(length - 1, len(rows) - 1 + length))
    while end >= len(rows):
        rows = np.concatenate([rows, draw_episode(store, rng)])
    return rows[end - length + 1 : end + 1]


def gather_sequences(store: EpisodeStore, rows: np.ndarray, extras: Any) -> dict[str, np.ndarray]:
    """What a batch of sequences with `rows` (B, K) holds: leading axes (B, K); extras (B,).

    Values belong to the transition that led to each row; at an episode's first row, zeros.
    """
    is_first = store.step[rows] == 0
    led_by = np.where(is_first, 0, store.previous[rows])
    batch = {}
    for name, element in store.elements.items():
        if element.is_observation:
            batch[name] = store.column(name)[rows]
            continue
        at = led_by[:, -1] if name in extras else led_by
        first = is_first[:, -1] if name in extras else is_first
        values = store.column(name)[at]
        values[first] = 0
        batch[name] = values
    batch["is_first"] = is_first.astype(np.int8)
    # a final row has no transition of its own
    last = rows[:, -1]
    batch["indices"] = np.where(last >= store.capacity, store.previous[last], last)
    return batch
