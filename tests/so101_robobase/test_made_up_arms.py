"""Two arms that nobody has built: nothing but their description and MJCF knows their numbers."""

import csv
import subprocess
import sys

import mujoco
import numpy as np
import pytest
from made_up_arms import longer_arm, rigid_wrist

from robobase.errors import UserError
from so101_robobase.arm.clearance import Clearance
from so101_robobase.arm.control import ControlConfig, make_controller, num_actions
from so101_robobase.arm.kinematics import Kinematics, rotation_error
from so101_robobase.arm.model import SO101, describe
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.sim.scene import SceneConfig, build_scene
from so101_robobase.tasks.lift.config import LiftConfig

NUM_ENVS = 12


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    return SceneConfig(robot_xml=longer_arm(tmp_path_factory.mktemp("longer")))


@pytest.fixture(scope="module")
def rigid(tmp_path_factory):
    return SceneConfig(arm=rigid_wrist(tmp_path_factory.mktemp("rigid")))


@pytest.fixture(params=["longer", "rigid"])
def config(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def scene(config):
    return build_scene(config)


@pytest.fixture
def kinematics(scene):
    return Kinematics.from_model(scene.model, scene.arm)


@pytest.fixture
def poses(scene):
    low, high = scene.model.actuator_ctrlrange.T
    return np.random.default_rng(1).uniform(low, high, (30, scene.arm.num_joints))


def test_the_scene_holds_the_arm_then_the_cube(scene):
    for model in (scene.model, scene.render_model):
        names = [model.joint(joint).name for joint in range(model.njnt)]
        assert names == [*scene.arm.joint_names, "cube"]
        assert model.joint("cube").qposadr[0] == scene.cube_pos.start
    assert (np.bincount(scene.class_of_geom, minlength=6)[2:] == [1, 1, 2, 2]).all()


def test_kinematics_and_clearance_are_mujocos(scene, kinematics, poses):
    model, data = scene.model, mujoco.MjData(scene.model)
    position, rotation = kinematics.forward(poses)
    lowest = Clearance(model, scene.arm)(poses)
    body = model.site(scene.arm.tcp_site).bodyid[0]
    for row, pose in enumerate(poses):
        data.qpos[: len(pose)] = pose
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(position[row], data.site(scene.arm.tcp_site).xpos, atol=1e-9)
        np.testing.assert_allclose(rotation[row].ravel(), data.xmat[body], atol=1e-9)
        assert lowest.clearance[row] <= data.geom(scene.arm.static_pad).xpos[2]
    np.testing.assert_allclose(lowest.tcp, position, atol=1e-9)


def test_the_jacobian_is_the_derivative(kinematics, poses):
    jacobian, step = kinematics.jacobian(poses), 1e-6
    assert jacobian.shape == (30, 6, kinematics.arm.num_joints - 1)
    position, rotation = kinematics.forward(poses)
    for joint in range(jacobian.shape[2]):
        nudged = poses.copy()
        nudged[:, joint] += step
        there, turned = kinematics.forward(nudged)
        change = np.hstack([there - position, rotation_error(rotation, turned)]) / step
        np.testing.assert_allclose(jacobian[:, :, joint], change, atol=1e-4)


def test_inverse_kinematics_comes_to_places_that_the_arm_was_at(kinematics, poses):
    start = np.tile(kinematics.arm.each("folded"), (len(poses), 1))
    near = (start + 0.3 * np.sin(7 * poses))[:, :-1]
    target, _ = kinematics.forward(np.clip(near, kinematics.lower, kinematics.upper))
    position, _ = kinematics.forward(kinematics.solve(target, start, iterations=50))
    np.testing.assert_allclose(position, target, atol=1e-3)


@pytest.mark.parametrize("mode", ["joint_delta", "cartesian_delta"])
def test_controllers_have_as_many_targets_as_joints(scene, kinematics, mode):
    arm, control = scene.arm, ControlConfig(mode=mode, floor=0.02)
    limits, clearance = scene.model.actuator_ctrlrange, Clearance(scene.model, arm)
    controller = make_controller(control, kinematics, limits, 3, clearance)
    pose = np.tile(arm.each("folded"), (3, 1))
    controller.reset(pose)
    assert controller.action_dim == num_actions(control, arm)
    for _ in range(40):
        pose = controller(-np.ones((3, controller.action_dim)), pose)
    assert pose.shape == (3, arm.num_joints)
    assert (clearance(pose).clearance >= 0.02).all()


def play(config, steps, **settings):
    """The scripted pick's observations and whether each first episode succeeded."""
    lift = LiftConfig(scene=config, observation="state", teacher=True, **settings)
    env = TaskVectorEnv(lift, NUM_ENVS)
    observation, info = env.reset(seed=1)
    succeeded, running = np.zeros(NUM_ENVS, bool), np.ones(NUM_ENVS, bool)
    for _ in range(steps):
        observation, _, terminated, truncated, info = env.step(info["teacher_action"])
        done = terminated | truncated
        if done.any():
            succeeded |= running & done & (info["final_info"]["task_success"] > 0)
        running &= ~done
    env.close()
    return env, observation["low_dim_state"], succeeded


def test_the_scripted_pick_lifts_the_cube(config, scene):
    env, state, succeeded = play(config, 60, stage=3)
    joints = scene.arm.num_joints
    assert env.single_action_space.shape == (joints,)
    assert state.shape == (NUM_ENVS, 2 * joints + 9)
    assert succeeded.mean() > 0.9


def test_randomised_episodes_go_on_where_they_were_saved(rigid):
    settings = {"scene": {"arm": rigid.arm}, "stage": {0: 1, 4: 1}, "joint_velocity": "differences"}
    settings |= {"randomization": {"physical": {"enabled": True}, "visual": {"enabled": True}}}
    first, second = (TaskVectorEnv(num_envs=2, image_size=24, **settings) for _ in range(2))
    first.reset(seed=3)
    second.reset(seed=4)
    for env in (first, second):
        env.step(np.ones((2, 5), np.float32))
    second.load_state_dict(first.state_dict())
    for _ in range(10):
        action = np.full((2, 5), -0.3, np.float32)
        one, other = first.step(action)[0], second.step(action)[0]
        for key in ("rgb", "low_dim_state"):
            np.testing.assert_array_equal(one[key], other[key])
    assert one["low_dim_state"].shape == (2, 2 * 5 + 6)


def test_a_wrist_that_does_not_roll_cannot_be_locked(rigid):
    control = ControlConfig(mode="cartesian_delta", lock_wrist=True)
    with pytest.raises(UserError, match="no joint turns this arm's gripper"):
        control.of(describe(rigid.arm))


def test_a_description_names_what_differs(rigid, tmp_path):
    arm = describe(rigid.arm)
    assert arm.joint_names == tuple(name for name in SO101.joint_names if name != "wrist_roll")
    assert (arm.roll_index, arm.tcp_pos) == (None, SO101.tcp_pos)
    assert describe(None) is SO101
    for text, complaint in (
        ("[1, 2]", "holds no description of an arm"),
        ("tcp_psi: [0, 0, 0]", r"arm\.tcp_psi is unknown; did you mean tcp_pos"),
        ("joints: [{name: a}]", "must be two names or more"),
        ("roll_joint: twist", "roll_joint='twist' is no joint of the arm"),
        ("joints: [{name: a, scale: fast}, {name: b}]", r"arm\.joints\[0\]\.scale='fast'"),
    ):
        (tmp_path / "arm.yaml").write_text(text)
        with pytest.raises(UserError, match=complaint):
            describe(str(tmp_path / "arm.yaml"))


@pytest.mark.slow
def test_a_policy_learns_to_touch_the_cube(config, tmp_path):
    """In a minute, from state, with the expert's advice: as on the SO-101."""
    settings = ("num_threads=1", "log_eval_video=false", "progress_bar=false", "tb.use=false")
    command = [
        *(sys.executable, "-m", "robobase.train", "env=so101_touch", "launch=teacher", *settings),
        *("pixels=false", "num_train_frames=20000", "eval_every_steps=10000"),
        *("update_every_steps=2", "method.weight_average=0.99", f"hydra.run.dir={tmp_path}"),
        *(f"env.scene.{key}={getattr(config, key) or 'null'}" for key in ("arm", "robot_xml")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(tmp_path / "eval.csv", newline="") as stream:
        successes = [float(row["episode_success"]) for row in csv.DictReader(stream)]
    assert max(successes) > 0.7
