import random

import gymnasium as gym
import numpy as np
import pytest

from robobase.errors import UserError
from robobase.replay_buffer import PrioritizedReplayBuffer


def make_buffer(**kwargs):
    space = gym.spaces.Dict({"x": gym.spaces.Box(-np.inf, np.inf, (1, 1), np.float32)})
    options = {"replay_capacity": 20, "batch_size": 4, "seed": 0, "observation_elements": space}
    return PrioritizedReplayBuffer(**options | kwargs)


def add_episode(buffer, priorities):
    for t, priority in enumerate(priorities):
        last = t == len(priorities) - 1
        buffer.add({"x": np.array([t])}, 0.0, 0.0, last, False, priority=priority)
    buffer.add_final({"x": np.array([len(priorities)])})


def int32(*values):
    return np.array(values, dtype=np.int32)


def test_priority_is_part_of_the_signature_and_defaults_to_the_largest_seen():
    buffer = make_buffer()
    assert "priority" in buffer.get_storage_signature()[0]
    add_episode(buffer, [None, 7.0, None])
    assert buffer.get_priority(int32(2, 0, 1)).tolist() == [7.0, 1.0, 7.0]
    assert buffer.get_priority(int32(0)).dtype == np.float32


def test_priorities_are_read_by_int32_indices_only():
    buffer = make_buffer()
    add_episode(buffer, [1.0])
    for indices in (np.array([0], np.int64), [0]):
        with pytest.raises(AssertionError, match="indices"):
            buffer.get_priority(indices)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_priorities_are_set_by_any_integers(dtype):
    buffer = make_buffer()
    add_episode(buffer, [1.0, 1.0, 1.0])
    buffer.set_priority(np.array([2, 0], dtype), np.array([5.0, 3.0]))
    assert buffer.get_priority(int32(0, 1, 2)).tolist() == [3.0, 1.0, 5.0]


def test_samples_report_the_priority():
    buffer = make_buffer()
    add_episode(buffer, [None] * 4)
    assert buffer.sample()["sampling_probabilities"].tolist() == [1.0] * 4
    buffer.set_priority(np.arange(4), np.arange(1.0, 5.0))
    sample = buffer.sample(50)
    np.testing.assert_array_equal(sample["sampling_probabilities"], sample["indices"] + 1)


def test_priority_zero_is_never_sampled():
    buffer = make_buffer()
    add_episode(buffer, [0.0, 1.0])
    add_episode(buffer, [1.0])
    add_episode(buffer, [1.0])
    drawn = {int(i) for _ in range(100) for i in buffer.sample(batch_size=2)["indices"]}
    assert drawn == {1, 2, 3}


def test_only_starts_of_complete_windows_are_sampled_in_proportion_to_their_priority():
    buffer = make_buffer(nstep=3)
    add_episode(buffer, [1.0, 2.0, 1.0, 100.0, 100.0])
    random.seed(0)
    counts = np.bincount(buffer.sample(8000)["indices"], minlength=5)
    np.testing.assert_allclose(counts, [2000, 4000, 2000, 0, 0], atol=250)


def test_nothing_to_sample_is_an_error_not_a_hang():
    buffer = make_buffer(nstep=3)
    add_episode(buffer, [0.0, 0.0, 0.0, 1.0])
    with pytest.raises(UserError, match="priority 0"):
        buffer.sample()


def test_the_ring_wraps_and_new_transitions_replace_old_priorities():
    buffer = make_buffer(replay_capacity=6)
    for k in range(10):
        add_episode(buffer, [k + 1.0, k + 1.0, k + 1.0])
    assert buffer.sum_tree.total == 3 * 9 + 3 * 10
    assert set(buffer.sample(100)["indices"]) == set(range(6))


def test_batches_of_environments_get_priorities_too():
    buffer = make_buffer()
    zeros = np.zeros(3)
    for _ in range(2):
        buffer.add_batch({"x": np.zeros((3, 1))}, zeros, zeros, zeros, zeros)
    buffer.add_batch(
        {"x": np.zeros((3, 1))}, zeros, zeros, zeros, zeros, priority=np.array([1.0, 2.0, 3.0])
    )
    assert buffer.get_priority(np.arange(9, dtype=np.int32)).tolist() == [1] * 7 + [2, 3]


def test_bad_priorities_are_refused_and_change_nothing():
    buffer = make_buffer()
    for priority in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="finite and not negative"):
            buffer.add({"x": np.zeros(1)}, 0.0, 0.0, False, False, priority=priority)
    assert buffer.add_count == 0


def test_sequences_cannot_be_prioritised():
    with pytest.raises(UserError, match="sequential"):
        make_buffer(sequential=True, action_shape=(1,))
