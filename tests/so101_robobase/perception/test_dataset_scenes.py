"""Scenes for pictures: what was simulated stays possible, and what is held stays held."""

import dataclasses

import mujoco
import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.model import SO101
from so101_robobase.perception import scenes
from so101_robobase.perception.scenes import Pool, SceneVariation, simulate_pool
from so101_robobase.sim.randomization import PhysicalRandomization
from so101_robobase.sim.scene import CUBE, build_scene


@pytest.fixture(scope="module")
def pool():
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        return simulate_pool(0, PhysicalRandomization(), size=480)


def make_small(patch):
    """Few picks from stage 3 alone: one bank of start states is made faster than five."""
    patch.setattr(scenes, "STAGES", {3: 1.0})
    patch.setattr(scenes, "_NUM_ARMS", 16)


class Inspector:
    """An independent look at a scene: contacts and the cube in the gripper's frame."""

    def __init__(self):
        self.model = build_scene().model
        self.data = mujoco.MjData(self.model)

    def contacts(self, qpos):
        """(parts of the arm on the cube, deepest of these contacts, deepest on the table), m."""
        self.data.qpos = qpos
        mujoco.mj_forward(self.model, self.data)
        cube = self.model.geom(CUBE).bodyid[0]
        arm, table, parts = [], [], set()
        for contact in self.data.contact:
            bodies = set(self.model.geom_bodyid[contact.geom])
            if 0 in bodies:
                table.append(-contact.dist)
            elif cube in bodies:
                arm.append(-contact.dist)
                parts |= bodies - {cube}
        return len(parts), max(arm, default=0.0), max(table, default=0.0)

    def cube_in_gripper(self, qpos):
        self.contacts(qpos)
        gripper = self.data.body(int(self.model.geom(SO101.static_pad).bodyid[0]))
        cube = self.data.body(CUBE)
        frame = gripper.xmat.reshape(3, 3)
        return frame.T @ (cube.xpos - gripper.xpos), frame.T @ cube.xmat.reshape(3, 3)


def of(pool, keep):
    return Pool(pool.qpos[keep], pool.cube_half_size[keep])


@pytest.fixture(scope="module")
def touching(pool):
    inspector = Inspector()
    return np.array([inspector.contacts(row)[0] for row in pool.qpos])


def draws(pool, number, seed=0):
    variation = SceneVariation(build_scene(), pool)
    return [variation.draw(np.random.default_rng([seed, k])) for k in range(number)]


def test_a_pool_holds_held_and_free_cubes_and_many_arm_poses(pool, touching):
    assert pool.qpos.shape == (480, 13)
    assert 0.05 < (touching > 1).mean() < 0.95
    assert (pool.qpos[:, 8] > 0.05).mean() > 0.02  # lifted
    assert (np.ptp(pool.qpos[:, :6], axis=0) > 0.3).all()


def test_the_same_seed_simulates_the_same_pool_on_any_number_of_threads(monkeypatch):
    make_small(monkeypatch)
    physical = PhysicalRandomization()
    first, again, other = (
        simulate_pool(seed, physical, size=48, num_threads=threads)
        for seed, threads in ((5, 1), (5, 2), (6, 1))
    )
    np.testing.assert_array_equal(first.qpos, again.qpos)
    assert (first.qpos != other.qpos).any(axis=1).mean() > 0.5


def test_a_scene_depends_on_its_generator_alone(pool):
    forward = draws(pool, 6)
    variation = SceneVariation(build_scene(), pool)
    backward = [variation.draw(np.random.default_rng([0, k])) for k in reversed(range(6))][::-1]
    for (qpos, half_size), (again, half_size_again) in zip(forward, backward, strict=True):
        np.testing.assert_array_equal(qpos, again)
        assert half_size == half_size_again


def test_a_held_cube_moves_with_the_gripper_and_keeps_its_place_in_it(pool, touching):
    inspector = Inspector()
    held = np.flatnonzero((touching > 1) & (pool.qpos[:, 8] > 0.04))[:5]
    assert len(held) == 5
    for k in held:
        place, turn = inspector.cube_in_gripper(pool.qpos[k])
        moved = 0
        for qpos, _ in draws(of(pool, [k]), 4):
            new_place, new_turn = inspector.cube_in_gripper(qpos)
            np.testing.assert_allclose(new_place, place, atol=1e-9)
            np.testing.assert_allclose(new_turn, turn, atol=1e-9)
            assert qpos[5] == pool.qpos[k, 5]  # the jaw
            moved += (qpos != pool.qpos[k]).any()
        assert moved > 0


def test_a_cube_that_is_only_touched_stays_where_it_was_simulated(pool, touching):
    pushed = np.flatnonzero(touching == 1)
    assert len(pushed) > 0
    for qpos, _ in draws(of(pool, pushed[:1]), 10):
        np.testing.assert_array_equal(qpos, pool.qpos[pushed[0]])


def test_free_cubes_are_partly_put_elsewhere_flat_and_near_the_gripper(pool, touching):
    free = np.flatnonzero(touching == 0)[:1]
    start = pool.qpos[free[0]]
    cubes = np.array([qpos[6:] for qpos, _ in draws(of(pool, free), 200)])
    elsewhere = (cubes[:, :2] != start[6:8]).any(axis=1)
    assert 0.25 < elsewhere.mean() < 0.5
    assert (cubes[elsewhere, 2] == 0.015).all()
    np.testing.assert_array_equal(cubes[elsewhere, 4:6], 0)  # turned about the vertical alone
    assert np.ptp(cubes[elsewhere, :2], axis=0).max() < 2 * scenes.PLACE_REACH + 1e-9
    assert np.ptp(cubes[elsewhere, :2], axis=0).min() > scenes.PLACE_REACH


def test_no_cube_is_put_beside_the_table_however_far_the_arm_is_out(pool, touching):
    backwards = of(pool, np.flatnonzero(touching == 0)[:1])
    backwards.qpos[:, :3] = 0.5, -1.7, -1.6  # over the base and beyond the table's edge
    config = build_scene().config
    for qpos, _ in draws(backwards, 100):
        assert (np.abs(qpos[6:8] - config.table_center) < config.table_half_size).all()


def test_nothing_is_moved_into_something_else(pool, touching):
    inspector = Inspector()
    for qpos, _ in draws(of(pool, np.flatnonzero(touching == 0)), 300):
        _, cube, table = inspector.contacts(qpos)
        assert cube < 0.0025
        assert table < 0.0025


def test_a_cube_of_another_size_is_put_on_the_table_at_its_own_height(pool, touching):
    free = np.flatnonzero(touching == 0)[:1]
    small = dataclasses.replace(of(pool, free), cube_half_size=np.array([0.012]))
    drawn = draws(small, 50)
    assert {half_size for _, half_size in drawn} == {0.012}
    assert 0.012 in {qpos[8] for qpos, _ in drawn}
    assert build_scene().model.geom(CUBE).size[0] == 0.015  # the shared scene is as it was


def test_a_saved_pool_comes_back_for_its_own_label_only(tmp_path, pool):
    path = tmp_path / "states.npz"
    assert Pool.load(path, "a") is None
    pool.save(path, "a")
    np.testing.assert_array_equal(Pool.load(path, "a").qpos, pool.qpos)
    assert Pool.load(path, "b") is None
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cannot be read .*; delete it"):
        Pool.load(path, "a")
