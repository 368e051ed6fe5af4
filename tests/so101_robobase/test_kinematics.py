"""Kinematics agree with MuJoCo, invert, and treat every row alone."""

import mujoco
import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.kinematics import Kinematics, rotation_error, rpy, yaw_rotation
from so101_robobase.arm.model import ArmModel
from so101_robobase.sim.scene import build_scene


@pytest.fixture(scope="module")
def model():
    return build_scene().model


@pytest.fixture(scope="module")
def kinematics(model):
    return Kinematics.from_model(model)


def random_joints(kinematics, n, seed=0, margin=0.0):
    rng = np.random.default_rng(seed)
    return rng.uniform(kinematics.lower + margin, kinematics.upper - margin, (n, 5))


def mujoco_pose(model, q):
    data = mujoco.MjData(model)
    data.qpos[:5] = q
    mujoco.mj_forward(model, data)
    site = model.site("gripperframe")
    rotation = data.xmat[site.bodyid[0]].reshape(3, 3)
    linear, angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    mujoco.mj_jacSite(model, data, linear, angular, site.id)
    return data.site("gripperframe").xpos, rotation, np.vstack([linear, angular])[:, :5]


def test_forward_and_jacobian_agree_with_mujoco(model, kinematics):
    q = random_joints(kinematics, 20)
    position, rotation = kinematics.forward(q)
    jacobian = kinematics.jacobian(q)
    for i in range(20):
        expected_position, expected_rotation, expected_jacobian = mujoco_pose(model, q[i])
        np.testing.assert_allclose(position[i], expected_position, atol=1e-12)
        np.testing.assert_allclose(rotation[i], expected_rotation, atol=1e-12)
        np.testing.assert_allclose(jacobian[i], expected_jacobian, atol=1e-12)


def test_a_gripper_column_is_ignored(kinematics):
    q = random_joints(kinematics, 3)
    with_gripper = np.hstack([q, np.ones((3, 1))])
    np.testing.assert_array_equal(kinematics.forward(q)[0], kinematics.forward(with_gripper)[0])


def test_solve_reaches_positions_within_a_tenth_of_a_millimetre(kinematics):
    q = random_joints(kinematics, 50, margin=0.3)
    target = kinematics.forward(q)[0]
    start = q + np.random.default_rng(1).uniform(-0.2, 0.2, q.shape)
    solution = kinematics.solve(target, start, iterations=30)
    reached = kinematics.forward(solution)[0]
    assert np.linalg.norm(reached - target, axis=1).max() < 1e-4


@pytest.mark.parametrize(("x", "tilt"), [(0.14, 0.01), (0.20, 0.01), (0.26, 0.01), (0.33, 0.22)])
@pytest.mark.parametrize("y", [-0.10, 0.0, 0.10])
def test_solve_points_down_over_the_whole_table_and_leans_only_at_its_edge(kinematics, x, tilt, y):
    target = np.array([[x, y, 0.015]])
    down = yaw_rotation(np.array([1.2]))
    start = np.array([[0.0, -0.3, 0.3, 1.5, 1.57]])
    solution = kinematics.solve(
        target, start, down, orientation_weight=0.02, damping=0.005, iterations=100
    )
    position, rotation = kinematics.forward(solution)
    assert np.linalg.norm(position - target) < 1e-3
    assert np.abs(rotation_error(rotation, down)).max() < tilt


def test_locked_joints_do_not_move_and_limits_hold(kinematics):
    q = random_joints(kinematics, 8)
    target = np.tile([0.6, 0.3, 0.5], (8, 1))  # out of reach
    free = (True, True, True, False, False)
    solution = kinematics.solve(target, q, free=free)
    np.testing.assert_array_equal(solution[:, 3:], q[:, 3:])
    assert np.all(solution >= kinematics.lower)
    assert np.all(solution <= kinematics.upper)
    assert np.abs(solution[:, :3] - q[:, :3]).max() > 0.1


def test_rows_do_not_depend_on_the_batch_size(kinematics):
    q = random_joints(kinematics, 16)
    target = kinematics.forward(random_joints(kinematics, 16, seed=1))[0]
    rotation = yaw_rotation(np.linspace(-3, 3, 16))
    position, frame = kinematics.forward(q)
    whole = (
        position,
        frame,
        rpy(frame),
        kinematics.jacobian(q),
        kinematics.solve(target, q),
        kinematics.solve(target, q, rotation),
    )
    for i in range(16):
        row = slice(i, i + 1)
        position, frame = kinematics.forward(q[row])
        alone = (
            position,
            frame,
            rpy(frame),
            kinematics.jacobian(q[row]),
            kinematics.solve(target[row], q[row]),
            kinematics.solve(target[row], q[row], rotation[row]),
        )
        for together, single in zip(whole, alone, strict=True):
            np.testing.assert_array_equal(together[row], single)


def test_rpy_of_a_tool_pointing_down_is_its_heading():
    yaw = np.array([-2.0, 0.0, 1.0])
    np.testing.assert_allclose(rpy(yaw_rotation(yaw)), np.stack([0 * yaw, 0 * yaw, yaw], 1))


def test_rotation_error_turns_one_frame_into_the_other():
    error = rotation_error(yaw_rotation(np.array([0.2, 1.0])), yaw_rotation(np.array([0.5, 1.0])))
    np.testing.assert_allclose(error, [[0, 0, 0.3], [0, 0, 0]], atol=1e-12)


def test_a_site_outside_the_arm_is_refused(model):
    with pytest.raises(UserError, match="it must be"):
        Kinematics.from_model(model, ArmModel(tcp_site="moving_fingertip"))
