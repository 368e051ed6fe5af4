"""A DataLoader's worker processes see what is added after they were started."""

import gymnasium as gym
import numpy as np
import pytest
from torch.utils.data import DataLoader

from robobase.replay_buffer import PrioritizedReplayBuffer, UniformReplayBuffer

# Importing torch in a fresh process takes seconds, so the default tests start few of them.
WORKERS = [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]


def make_buffer(kind=UniformReplayBuffer, **kwargs):
    space = gym.spaces.Dict({"x": gym.spaces.Box(0, 255, (2, 3), np.uint8)})
    return kind(batch_size=4, replay_capacity=50, observation_elements=space, **kwargs)


def add_episode(buffer, length, **kwargs):
    for t in range(length):
        buffer.add({"x": np.full(3, t)}, 0.0, 0.0, t == length - 1, False, **kwargs)
    buffer.add_final({"x": np.full(3, length)})


def loader_of(buffer, num_workers):
    return iter(
        DataLoader(
            buffer,
            batch_size=4,
            num_workers=num_workers,
            multiprocessing_context="forkserver",
            prefetch_factor=1,
        )
    )


@pytest.mark.parametrize("num_workers", WORKERS)
def test_every_worker_serves_the_first_episode_and_sees_later_ones(num_workers):
    buffer = make_buffer(num_workers=num_workers)
    add_episode(buffer, 8)
    batches = loader_of(buffer, num_workers)
    for _ in range(num_workers):
        batch = next(batches)
        assert batch["x"].shape == (4, 2, 3)
        assert batch["indices"].max() < 8
    add_episode(buffer, 30)
    seen = [int(next(batches)["indices"].max()) for _ in range(4 * num_workers)]
    assert max(seen[num_workers:]) >= 8


@pytest.mark.slow
def test_sequences_added_later_are_seen_too():
    buffer = make_buffer(sequential=True, transition_seq_len=4, fetch_every=1, num_workers=1)
    add_episode(buffer, 5)
    batches = loader_of(buffer, 1)
    assert next(batches)["x"].shape == (4, 4, 3)
    for _ in range(4):
        add_episode(buffer, 10)
    for _ in range(3):
        batch = next(batches)
    assert batch["indices"].max() > 10


@pytest.mark.slow
def test_workers_wait_for_the_first_episode():
    buffer = make_buffer()
    batches = loader_of(buffer, 2)
    add_episode(buffer, 8)
    assert next(batches)["x"].shape == (4, 2, 3)


@pytest.mark.slow
def test_priorities_raised_here_are_seen_by_workers():
    buffer = make_buffer(PrioritizedReplayBuffer)
    add_episode(buffer, 8)
    batches = loader_of(buffer, 1)
    assert np.all(next(batches)["sampling_probabilities"].numpy() == 1.0)
    buffer.set_priority(np.arange(8), np.full(8, 10.0))
    for _ in range(10):
        batch = next(batches)
    assert np.all(batch["sampling_probabilities"].numpy() == 10.0)
