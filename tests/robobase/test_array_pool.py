import gc
import pickle

import numpy as np
import pytest
import torch

from robobase.replay_buffer.array_pool import ArrayPool

FLOAT = np.dtype(np.float32)


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_only_when_nothing_refers_to_it():
    pool = ArrayPool()
    first = pool.empty((4, 5), FLOAT)
    where = address(first)
    second = pool.empty((4, 5), FLOAT)
    assert address(second) != where
    del first
    gc.collect(0)
    assert address(pool.empty((10, 2), FLOAT)) == where


@pytest.mark.parametrize(
    "keep",
    [
        lambda array: array[1:, ::2],
        lambda array: array[0][3:],
        lambda array: array.view(np.uint8).reshape(-1)[5:],
        lambda array: torch.from_numpy(array)[1:].view(-1),
        lambda array: {"a": torch.from_numpy(array[:, 1:]).t()},
    ],
)
def test_any_view_or_tensor_keeps_the_memory(keep):
    pool = ArrayPool()
    array = pool.empty((4, 5), FLOAT)
    where, kept = address(array), keep(array)
    del array
    gc.collect(0)
    others = [pool.empty((4, 5), FLOAT) for _ in range(5)]
    assert where not in {address(other) for other in others}
    del kept
    gc.collect(0)
    assert address(pool.empty((4, 5), FLOAT)) == where


def test_a_pool_travels_without_its_memory():
    pool = ArrayPool()
    pool.empty((1000, 1000), FLOAT)
    assert len(pickle.dumps(pool)) < 1000
