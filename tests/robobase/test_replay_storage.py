"""Where the data lie: saving and loading, files, and too little room."""

import random

import gymnasium as gym
import numpy as np
import pytest
import torch

from robobase.errors import UserError
from robobase.replay_buffer import PrioritizedReplayBuffer, UniformReplayBuffer, shared_array


def make_buffer(kind=UniformReplayBuffer, capacity=30, dim=3, **kwargs):
    spaces = {
        "rgb": gym.spaces.Box(0, 255, (3, 1, 4, 4), np.uint8),
        "low_dim_state": gym.spaces.Box(-1, 1, (3, dim), np.float32),
    }
    return kind(
        batch_size=8,
        replay_capacity=capacity,
        nstep=2,
        action_shape=(1, 2),
        observation_elements=gym.spaces.Dict(spaces),
        **kwargs,
    )


def drive(buffer, rng, steps, num_envs=2):
    def observe():
        return {
            "rgb": rng.integers(0, 256, (num_envs, 1, 4, 4), dtype=np.uint8),
            "low_dim_state": rng.random((num_envs, 3), dtype=np.float32),
        }

    for _ in range(steps):
        terminal, truncated = rng.random(num_envs) < 0.1, rng.random(num_envs) < 0.1
        action = rng.random((num_envs, 2), dtype=np.float32)
        reward = rng.random(num_envs, dtype=np.float32)
        buffer.add_batch(observe(), action, reward, terminal, truncated, observe())


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


@pytest.mark.parametrize("steps", [7, 100])
@pytest.mark.parametrize("kind", [UniformReplayBuffer, PrioritizedReplayBuffer])
def test_a_loaded_buffer_samples_and_grows_exactly_as_the_saved_one(kind, steps, tmp_path):
    saved, loaded = make_buffer(kind, seed=1), make_buffer(kind, seed=2)
    drive(saved, np.random.default_rng(0), steps)
    saved.sample()
    if kind is PrioritizedReplayBuffer:
        saved.set_priority(np.arange(10), np.linspace(0.5, 3.0, 10))
    torch.save(saved.state_dict(), tmp_path / "replay.pt")
    loaded.load_state_dict(torch.load(tmp_path / "replay.pt", weights_only=True))

    for more in range(3):
        samples = []
        for buffer in (saved, loaded):
            random.seed(more)  # the sum tree draws from Python's random
            samples.append(buffer.sample())
        assert_same(*samples)
        drive(saved, np.random.default_rng(more), 9)
        drive(loaded, np.random.default_rng(more), 9)
    assert len(saved) == len(loaded)
    assert saved._num_episodes == loaded._num_episodes


def test_only_filled_rows_are_saved(tmp_path):
    buffer = make_buffer(capacity=100_000)
    drive(buffer, np.random.default_rng(0), 10)
    torch.save(buffer.state_dict(), tmp_path / "replay.pt")
    assert (tmp_path / "replay.pt").stat().st_size < 50_000


@pytest.mark.parametrize("other", [{"capacity": 31}, {"dim": 4}])
def test_a_buffer_of_another_kind_is_refused(other):
    saved = make_buffer()
    drive(saved, np.random.default_rng(0), 5)
    with pytest.raises(UserError, match="saved replay"):
        make_buffer(**other).load_state_dict(saved.state_dict())


def test_a_memory_mapped_buffer_samples_the_same_and_leaves_no_file(tmp_path):
    folder = tmp_path / "replay"
    mapped = make_buffer(seed=1, memory_mapped=True, save_dir=str(folder))
    plain = make_buffer(seed=1)
    for buffer in (mapped, plain):
        drive(buffer, np.random.default_rng(0), 50)
    assert_same(mapped.sample(), plain.sample())
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="save_dir"):
        make_buffer(memory_mapped=True, save_dir=str(tmp_path / "file"))


def test_more_than_memory_holds_is_refused_with_what_would_fit(monkeypatch):
    monkeypatch.setattr(shared_array, "available_memory", lambda: 10_000_000)
    with pytest.raises(UserError, match=r"replay.size=\d+ or less"):
        make_buffer(capacity=10_000_000)


def test_more_than_the_disk_holds_is_refused(tmp_path):
    with pytest.raises(UserError, match="disk"):
        make_buffer(capacity=10**12, memory_mapped=True, save_dir=str(tmp_path))


def test_this_machine_says_how_much_memory_it_has():
    free = shared_array.available_memory()
    assert free is None or free > 2**20
