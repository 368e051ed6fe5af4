from dataclasses import replace

import cv2
import mujoco
import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.sim import gl_context
from so101_robobase.sim.gl_renderer import GLRenderer, GLUnavailableError
from so101_robobase.sim.ray_renderer import RayRenderer
from so101_robobase.sim.renderer import _say_once, make_renderer
from so101_robobase.sim.scene import SceneConfig, build_scene
from so101_robobase.vision import observation
from so101_robobase.vision.observation import ClassId

OVER_THE_CUBE = np.array([0, -0.2, 0.4, 1.2, 1.5, 0.8, 0.25, 0, 0.015, 1, 0, 0, 0])


def random_states(scene, num, seed=0):
    """(num, 13): one half anywhere within the joint limits, one half near the table, jaw down.

    Arms that would reach through the table (camera below its top) are drawn again.
    """
    rng = np.random.default_rng(seed)
    low, high = scene.model.jnt_range[:6].T
    data = mujoco.MjData(scene.render_model)
    qpos = np.zeros((num, 13))
    for index, row in enumerate(qpos):
        row[6:9] = rng.uniform([0.12, -0.12, 0.015], [0.36, 0.12, 0.1])
        row[9:] = rng.normal(size=4)
        row[9:] /= np.linalg.norm(row[9:])
        while True:
            near = OVER_THE_CUBE[:6] + rng.normal(size=6) * [0.3, 0.3, 0.3, 0.3, 0.3, 0.5]
            row[:6] = near.clip(low, high) if index < num // 2 else rng.uniform(low, high)
            data.qpos = row
            mujoco.mj_kinematics(scene.render_model, data)
            mujoco.mj_camlight(scene.render_model, data)
            if data.cam_xpos[0, 2] > 0.01:
                break
    return qpos


def iou(a, b, class_id):
    return ((a == class_id) & (b == class_id)).sum() / ((a == class_id) | (b == class_id)).sum()


def test_every_class_appears(scene, gl):
    ids, _ = gl.render(random_states(scene, 50))
    assert set(np.unique(ids)) == set(ClassId)


@pytest.mark.parametrize("kind", ["gl", "ray"])
def test_classes_appear_where_they_should(kind, request):
    ids, depth = request.getfixturevalue(kind).render(OVER_THE_CUBE[None])
    ids, depth = ids[0], depth[0]
    assert ids[0, 0] == ClassId.TABLE
    assert (ids == ClassId.CUBE).mean() > 0.02
    rows, columns = np.nonzero(ids == ClassId.STATIC_FINGER)
    assert rows.mean() > 60
    assert columns.mean() > 60
    rows, columns = np.nonzero(ids == ClassId.MOVING_FINGER)
    assert rows.mean() > 60
    assert columns.mean() < 20
    nearness = {c: np.median(depth[ids == c]) for c in np.unique(ids)}
    assert nearness[ClassId.STATIC_FINGER] < nearness[ClassId.CUBE] < nearness[ClassId.TABLE]


@pytest.mark.parametrize("kind", [pytest.param("gl", marks=pytest.mark.opengl), "ray"])
def test_depth_is_perpendicular_and_in_metres(kind):
    scene = build_scene(SceneConfig(camera_euler=(0.0, 0.0, 0.0), table_half_size=(2.0, 2.0)))
    data = mujoco.MjData(scene.model)
    data.qpos[:6] = [0, -0.2, 0.4, 1.2, 1.5, 0.8]
    data.qpos[6:9] = [1.9, 1.9, 0.015]
    mujoco.mj_forward(scene.model, data)
    camera = data.camera("wrist_cam")
    renderer = make_renderer(kind, scene, 84, 84)
    ids, depth = renderer.render(data.qpos[None])
    renderer.close()
    # A table pixel at depth z along ray (x, y, -1) must lie on the plane of the table's top.
    pixel = 2 * np.tan(np.radians(70.5) / 2) / 84
    row, column = np.argwhere(ids[0] == ClassId.TABLE).T
    ray = np.stack([(column - 41.5) * pixel, (41.5 - row) * pixel, -np.ones(len(row))], axis=1)
    points = camera.xpos + depth[0][row, column, None] * (ray @ camera.xmat.reshape(3, 3).T)
    assert len(points) > 2000
    np.testing.assert_allclose(points[:, 2], 0, atol=1e-5)


@pytest.mark.parametrize("kind", ["gl", "ray"])
def test_background_is_infinitely_far(scene, kind, request):
    ids, depth = request.getfixturevalue(kind).render(random_states(scene, 20, seed=3))
    assert (ids == ClassId.BACKGROUND).any()
    np.testing.assert_array_equal(np.isinf(depth), ids == ClassId.BACKGROUND)


@pytest.mark.parametrize("kind", ["gl", "ray"])
def test_a_picture_does_not_depend_on_its_batch(scene, kind, request):
    renderer = request.getfixturevalue(kind)
    qpos = random_states(scene, 6, seed=1)
    ids, depth = renderer.render(qpos)
    for row in (5, 0, 3):
        alone = renderer.render(qpos[row : row + 1])
        np.testing.assert_array_equal(alone[0][0], ids[row])
        np.testing.assert_array_equal(alone[1][0], depth[row])


def test_rays_and_gl_agree(scene, gl, ray):
    qpos = random_states(scene, 200, seed=2)
    ids, depth = gl.render(qpos)
    ray_ids, ray_depth = ray.render(qpos)
    agree = ids == ray_ids
    assert agree.mean() >= 0.97
    disparity = [
        observation.seg_depth(i, observation.disparity_from_depth(d))[:, 1].astype(int)
        for i, d in ((ids, depth), (ray_ids, ray_depth))
    ]
    assert (abs(disparity[0] - disparity[1]) <= 3)[agree].mean() >= 0.95


def test_reduced_meshes_look_like_full_ones(scene, gl):
    full_scene = replace(scene, render_model=scene.model, class_of_geom=scene.class_of_geom_full)
    full = GLRenderer(full_scene, 84, 84)
    qpos = random_states(scene, 200)
    full_ids, _ = full.render(qpos)
    ids, _ = gl.render(qpos)
    full.close()
    assert (ids == full_ids).mean() >= 0.98
    for class_id in (ClassId.CUBE, ClassId.STATIC_FINGER, ClassId.MOVING_FINGER):
        assert iou(ids, full_ids, class_id) >= 0.9


def test_drawing_the_crop_directly_equals_cropping_the_camera_frame(scene, gl):
    camera = GLRenderer(scene, 480, 640)
    qpos = random_states(scene, 12, seed=4)
    frames = [camera.render(row[None]) for row in qpos]
    camera.close()
    cropped = np.stack(
        [observation.seg_depth(i[0], observation.disparity_from_depth(d[0])) for i, d in frames]
    )
    ids, depth = gl.render(qpos)
    direct = observation.seg_depth(ids, observation.disparity_from_depth(depth))
    agree = direct[:, 0] == cropped[:, 0]
    assert agree.mean() >= 0.99
    difference = abs(direct[:, 1].astype(int) - cropped[:, 1])
    assert (difference <= 3)[agree].mean() >= 0.98


def test_colours_show_the_red_cube_where_the_ids_say_cube(gl):
    ids, _ = gl.render(OVER_THE_CUBE[None])
    rgb = gl.render_rgb(OVER_THE_CUBE[None])
    assert rgb.shape == (1, 84, 84, 3)
    inside = cv2.erode((ids[0] == ClassId.CUBE).astype(np.uint8), np.ones((3, 3))) > 0
    red, green, blue = rgb[0][inside].T.astype(int)
    assert (red > green + 40).all()
    assert (red > blue + 40).all()
    table = rgb[0][ids[0] == ClassId.TABLE].astype(int)
    assert abs(table[:, 0] - table[:, 1]).mean() < 15
    again, _ = gl.render(OVER_THE_CUBE[None])
    np.testing.assert_array_equal(again, ids)


def test_renderers_may_be_used_by_turns_and_outlive_one_another(scene, gl):
    expected, _ = gl.render(OVER_THE_CUBE[None])
    other = GLRenderer(scene, 40, 60)
    assert other.render(OVER_THE_CUBE[None])[0].shape == (1, 40, 60)
    np.testing.assert_array_equal(gl.render(OVER_THE_CUBE[None])[0], expected)
    del other  # not closed
    np.testing.assert_array_equal(gl.render(OVER_THE_CUBE[None])[0], expected)


def test_rays_have_no_colours(ray):
    with pytest.raises(UserError, match="no colours"):
        ray.render_rgb(OVER_THE_CUBE[None])


@pytest.fixture
def no_gl(monkeypatch):
    def missing(backend):
        raise AttributeError("'NoneType' object has no attribute 'eglQueryString'")

    monkeypatch.setattr(gl_context, "_context_class", missing)


def test_without_gl_auto_falls_back_to_rays_with_one_line(scene, no_gl, capfd, monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    _say_once.cache_clear()
    renderer = make_renderer("auto", scene, 8, 8)
    assert isinstance(renderer, RayRenderer)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "apt-get install libegl1" in lines[0]


def test_without_gl_asking_for_gl_is_an_error(scene, no_gl):
    with pytest.raises(GLUnavailableError, match="does not start"):
        make_renderer("gl", scene, 8, 8)


@pytest.mark.parametrize("kind", ["gl", "ray"])
def test_bad_requests_are_refused(scene, kind):
    with pytest.raises(UserError, match="at least 1x1"):
        make_renderer(kind, scene, 0, 84)
    with pytest.raises(UserError, match="camera='nose' is unknown; known: wrist_cam"):
        make_renderer(kind, scene, 84, 84, camera="nose")
    with pytest.raises(UserError, match="renderer='vulkan' is unknown; known: auto, gl, ray"):
        make_renderer("vulkan", scene, 84, 84)
