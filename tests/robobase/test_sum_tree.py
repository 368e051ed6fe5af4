import random

import numpy as np
import pytest

from robobase.replay_buffer import SumTree


def test_capacity_must_be_a_positive_int():
    with pytest.raises(AssertionError):
        SumTree(2.5)
    for capacity in (0, -1):
        with pytest.raises(ValueError, match="positive"):
            SumTree(capacity)


@pytest.mark.parametrize(("capacity", "levels"), [(1, 1), (2, 2), (3, 3), (4, 3), (100, 8)])
def test_levels_double_until_they_hold_the_capacity(capacity, levels):
    tree = SumTree(capacity)
    assert [len(level) for level in tree.nodes] == [2**k for k in range(levels)]
    assert len(tree.nodes[-1]) >= capacity


def test_negative_priorities_are_refused():
    with pytest.raises(ValueError, match="negative"):
        SumTree(4).set(0, -1.0)


def test_inner_nodes_are_sums_after_any_changes():
    tree, rng = SumTree(37), np.random.default_rng(0)
    for _ in range(50):
        indices = rng.integers(0, 37, 5)
        tree.set_many(indices, rng.random(5))
        tree.set(int(rng.integers(37)), float(rng.random()))
    for parent, child in zip(tree.nodes, tree.nodes[1:], strict=False):
        np.testing.assert_allclose(parent, child.reshape(-1, 2).sum(1))


def test_the_largest_priority_is_remembered_and_starts_at_one():
    tree = SumTree(4)
    assert tree.max_recorded_priority == 1.0
    tree.set(0, 0.5)
    assert tree.max_recorded_priority == 1.0
    tree.set(1, 3.0)
    tree.set(1, 0.0)
    assert tree.max_recorded_priority == 3.0
    assert tree.get(1) == 0.0


def test_an_empty_tree_cannot_be_sampled():
    tree = SumTree(4)
    with pytest.raises(Exception, match="empty"):
        tree.sample()
    with pytest.raises(Exception, match="empty"):
        tree.stratified_sample(2)


def test_queries_outside_the_unit_interval_are_refused():
    tree = SumTree(4)
    tree.set(0, 1.0)
    for query in (-0.1, 1.1):
        with pytest.raises(ValueError, match="query"):
            tree.sample(query)


def test_queries_descend_by_prefix_sums_and_never_reach_priority_zero():
    tree = SumTree(5)
    for index, value in enumerate([1.0, 0.0, 2.0, 1.0, 0.0]):
        tree.set(index, value)
    assert [tree.sample(q) for q in (0.0, 0.2, 0.25, 0.7, 0.75, 1.0)] == [0, 0, 2, 2, 3, 3]


def test_single_samples_follow_pythons_random():
    tree = SumTree(100)
    tree.set_many(np.arange(100), np.ones(100))
    random.seed(1)
    first = [tree.sample() for _ in range(10)]
    random.seed(1)
    assert first == [tree.sample() for _ in range(10)]
    assert len(set(first)) > 5


def test_as_many_strata_as_equal_leaves_give_each_leaf_once_in_order():
    tree = SumTree(32)
    tree.set_many(np.arange(32), np.ones(32))
    assert tree.stratified_sample(32) == list(range(32))


def test_frequencies_are_the_priorities():
    tree = SumTree(8)
    priorities = np.array([1, 0, 3, 0, 0, 4, 2, 0], dtype=float)
    tree.set_many(np.arange(8), priorities)
    counts = np.bincount(tree.stratified_sample(10_000), minlength=8)
    np.testing.assert_allclose(counts, priorities * 1000, atol=2)
