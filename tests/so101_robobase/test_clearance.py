"""Heights of the arm's lowest point are those of its meshes and of its physics."""

import time

import mujoco
import numpy as np
import pytest

from so101_robobase.arm.clearance import Clearance, link_vertices
from so101_robobase.arm.kinematics import Kinematics
from so101_robobase.robot.simulated.body import Body
from so101_robobase.sim.scene import build_scene
from so101_robobase.tasks.lift.config import LiftConfig

SIDES = ("static", "moving")
DOWN = np.array([0.0, 0.15, 0.25, 1.17, 1.5708, 0.8])  # points down above (0.24, 0)


@pytest.fixture(scope="module")
def model():
    return build_scene().model


@pytest.fixture(scope="module")
def clearance(model):
    return Clearance(model)


@pytest.fixture(scope="module")
def poses(model):
    return np.random.default_rng(0).uniform(*model.actuator_ctrlrange.T, (150, 6))


def test_heights_agree_with_every_vertex_of_every_link(model, clearance, poses):
    data, vertices = mujoco.MjData(model), link_vertices(model)
    exact = []
    for pose in poses:
        data.qpos[:6] = pose
        mujoco.mj_kinematics(model, data)
        exact.append(
            min(
                (points @ data.xmat[body].reshape(3, 3).T + data.xpos[body])[:, 2].min()
                for body, points in vertices.items()
            )
        )
    error = clearance(poses).clearance - exact
    assert error.max() < 0.0005
    assert error.min() > -1e-9


def test_both_fingers_and_their_pads_count(model):
    names = {model.body(body).name for body in link_vertices(model)}
    pads = {model.body(model.geom(f"{side}_finger_pad").bodyid[0]).name for side in SIDES}
    assert pads < names
    assert not {"base", "shoulder", "cube", "world"} & names


def test_an_arm_pressed_on_the_table_has_no_clearance(clearance):
    body = Body(LiftConfig())
    for _ in range(150):
        body.advance(np.array([0.0, 1.7, 1.0, 1.6, 1.57, 0.0]))
    assert abs(clearance(body.joint_pos).clearance) < 0.001


def test_the_tool_centre_point_is_that_of_the_kinematics(model, clearance, poses):
    expected, _ = Kinematics.from_model(model).forward(poses)
    np.testing.assert_allclose(clearance(poses).tcp, expected, atol=1e-9)


def test_many_poses_at_once_are_as_one_by_one(clearance, poses):
    together = clearance(poses[:5])
    assert together.clearance.shape == (5,)
    assert together.tcp.shape == (5, 3)
    for i in range(5):
        alone = clearance(poses[i])
        assert alone.clearance.shape == ()
        assert alone.clearance == together.clearance[i]
        np.testing.assert_array_equal(alone.tcp, together.tcp[i])


def test_no_poses_have_no_heights(clearance):
    assert clearance(np.zeros((0, 6))).tcp.shape == (0, 3)


def test_turning_the_shoulder_changes_no_height(clearance):
    turned = DOWN.copy()
    turned[0] = 1.0
    assert clearance(turned).clearance == pytest.approx(clearance(DOWN).clearance, abs=1e-6)


def test_lowering_the_arm_lowers_it(clearance):
    lower = DOWN.copy()
    lower[1] += 0.2
    assert clearance(lower).clearance < clearance(DOWN).clearance - 0.02


def test_one_evaluation_takes_well_below_a_tick(clearance):
    start = time.process_time()
    for _ in range(500):
        clearance(DOWN)
    assert (time.process_time() - start) / 500 < 0.0005  # 0.015 ms on a free core
