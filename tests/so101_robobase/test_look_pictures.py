from dataclasses import replace

import cv2
import mujoco
import numpy as np
import pytest

from so101_robobase.envs.observer import Observer
from so101_robobase.sim import camera_effects
from so101_robobase.sim.appearance import Distractor, Light, Surface
from so101_robobase.sim.distractors import place
from so101_robobase.sim.dressing import add_distractors
from so101_robobase.sim.gl_renderer import GLRenderer
from so101_robobase.sim.looks import NEUTRAL, Look, VisualRandomization, draw_look
from so101_robobase.sim.randomization import RandomizationConfig
from so101_robobase.sim.renderer import labelled_pictures
from so101_robobase.sim.scene import CUBE
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask
from so101_robobase.vision.observation import ClassId

OVER_THE_CUBE = np.array([0, -0.2, 0.4, 1.2, 1.5, 0.8, 0.25, 0, 0.015, 1, 0, 0, 0])
QPOS = np.stack([OVER_THE_CUBE] * 4)
QPOS[1, :6] += [0.1, -0.3, 0.1, -0.2, 0.2, -0.4]
QPOS[2, :6] = [0.2, -0.9, 0.4, 0.1, 1.4, 0.3]
QPOS[3, 6:9] = [0.29, 0.02, 0.05]

BOX = Distractor("box", (0.33, 0.0), 0.4, (0.03, 0.02, 0.015), (0.1, 0.9, 0.2))


@pytest.fixture(scope="module")
def looks():
    rng = np.random.default_rng(3)
    config = VisualRandomization(num_distractors=(3, 4), distractor_x=(0.2, 0.4))
    return [draw_look(config, rng) for _ in range(len(QPOS))]


def flat(**changes):
    """No shading and saturated colours: what a pixel shows is told by its colour."""
    changes = {
        "lights": (),
        "ambient": 1.0,
        "headlight": 0.0,
        "gloss": 0.0,
        "table": Surface("plain", ((1, 1, 1), (1, 1, 1)), 0.2, 0),
        "robot_color": (0.0, 0.0, 1.0),
        "finger_color": (0.0, 0.0, 1.0),
        "pad_color": (0.0, 0.0, 1.0),
        "cube_color": (1.0, 0.0, 0.0),
        **changes,
    }
    return Look(**changes)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("kind", ["gl", "ray"])
def test_a_neutral_look_changes_neither_ids_nor_depth(kind, request):
    renderer = request.getfixturevalue(kind)
    sizes = np.full(len(QPOS), 0.015)
    for plain, neutral in zip(
        renderer.render(QPOS), renderer.render(QPOS, [NEUTRAL] * len(QPOS), sizes), strict=True
    ):
        np.testing.assert_array_equal(plain, neutral)


def test_pictures_without_a_look_are_the_same_after_pictures_with_one(gl, looks):
    ids, depth = gl.render(QPOS)
    rgb = gl.render_rgb(QPOS)
    labelled_pictures(gl, QPOS, looks)
    np.testing.assert_array_equal(gl.render(QPOS)[0], ids)
    np.testing.assert_array_equal(gl.render(QPOS)[1], depth)
    np.testing.assert_array_equal(gl.render_rgb(QPOS), rgb)


def test_rays_and_gl_agree_on_every_look(gl, ray, looks):
    sizes = np.linspace(0.012, 0.018, len(QPOS))
    ids, depth = gl.render(QPOS, looks, sizes)
    ray_ids, ray_depth = ray.render(QPOS, looks, sizes)
    agree = ids == ray_ids
    assert agree.mean() >= 0.97
    assert ((ids == ClassId.UNLABELED) & agree).sum() > 0.9 * (ids == ClassId.UNLABELED).sum()
    seen = agree & np.isfinite(depth) & np.isfinite(ray_depth)
    assert np.median(abs(depth[seen] / ray_depth[seen] - 1)) < 0.01


@pytest.mark.parametrize("k1", [-0.08, 0.3])
def test_rays_and_gl_agree_on_a_strong_lens(gl, ray, k1):
    looks = [Look(lens_distortion=k1)] * len(QPOS)
    ids, _ = gl.render(QPOS, looks)
    assert (ids == ray.render(QPOS, looks)[0]).mean() >= 0.985
    assert (ids == gl.render(QPOS)[0]).mean() < 0.985


@pytest.mark.parametrize("kind", ["gl", "ray"])
def test_a_picture_depends_on_its_state_and_look_alone(kind, request, looks):
    renderer = request.getfixturevalue(kind)
    ids, depth = renderer.render(QPOS, looks)
    for row in (2, 0):
        alone = renderer.render(QPOS[row : row + 1], looks[row : row + 1])
        np.testing.assert_array_equal(alone[0][0], ids[row])
        np.testing.assert_array_equal(alone[1][0], depth[row])


def test_colours_depend_on_state_and_look_alone(gl, looks):
    looks = [looks[0], NEUTRAL, looks[2], looks[0]]
    gl.render_rgb(QPOS[:1], [NEUTRAL])
    rgb = gl.render_rgb(QPOS, looks)
    for row in (2, 1, 0):
        np.testing.assert_array_equal(
            gl.render_rgb(QPOS[row : row + 1], looks[row : row + 1])[0], rgb[row]
        )


@pytest.mark.parametrize("k1", [-0.02, 0.0, 0.08])
def test_colours_and_ids_show_the_same_thing_at_the_same_place(scene, gl, k1):
    look = flat(
        camera_position=(0.01, -0.01, 0.01),
        camera_rotation=(0.05, -0.06, 0.07),
        camera_fovy=2.0,
        lens_distortion=k1,
        distractors=(replace(BOX, color=(0.0, 1.0, 0.0)),),
    )
    renderer = GLRenderer(scene, 240, 320)
    rgb, ids = labelled_pictures(renderer, OVER_THE_CUBE[None], [look])
    without, _ = renderer.render(OVER_THE_CUBE[None], [replace(look, distractors=())])
    renderer.close()
    red, green, blue = (rgb[0] > 127).transpose(2, 0, 1)
    for shown, labelled in (
        (red & ~green & ~blue, ids[0] == ClassId.CUBE),
        (red & green & blue, ids[0] == ClassId.TABLE),
        (blue & ~red, np.isin(ids[0], [ClassId.STATIC_FINGER, ClassId.MOVING_FINGER])),
        (green & ~red, ids[0] != without[0]),
    ):
        assert labelled.sum() > 300
        assert iou(shown, labelled) > 0.97


def test_colours_and_light_do_not_change_ids(gl, looks):
    ids, _ = gl.render(QPOS, looks)
    plain = [
        Look(
            look.camera_position,
            look.camera_rotation,
            look.camera_fovy,
            look.lens_distortion,
            distractors=look.distractors,
        )
        for look in looks
    ]
    np.testing.assert_array_equal(gl.render(QPOS, plain)[0], ids)


@pytest.mark.parametrize("kind", ["gl", "ray"])
def test_the_camera_moves_turns_and_zooms(kind, request):
    renderer = request.getfixturevalue(kind)

    def cube(**camera):
        ids, _ = renderer.render(OVER_THE_CUBE[None], [Look(**camera)])
        rows, columns = np.nonzero(ids[0] == ClassId.CUBE)
        return rows.mean(), columns.mean(), len(rows)

    row, column, area = cube()
    assert cube(camera_position=(0.005, 0, 0))[1] < column - 2  # the camera goes right
    assert cube(camera_position=(0, 0.005, 0))[0] > row + 2  # up
    assert cube(camera_position=(0, 0, 0.02))[2] < 0.9 * area  # back
    assert cube(camera_fovy=10.0)[2] < 0.8 * area
    assert cube(camera_rotation=(0, 0.05, 0))[1] > column + 2  # looks left
    assert cube(camera_rotation=(0.05, 0, 0))[0] > row + 2  # looks up


@pytest.mark.parametrize("kind", ["gl", "ray"])
@pytest.mark.parametrize("shape", ["box", "cylinder", "sphere", "ellipsoid", "capsule", "sheet"])
def test_distractors_are_seen_nearer_than_the_table_and_unlabelled(kind, shape, request):
    renderer = request.getfixturevalue(kind)
    qpos = QPOS[:1]
    plain_ids, plain_depth = renderer.render(qpos)
    ids, depth = renderer.render(qpos, [Look(distractors=(replace(BOX, shape=shape),))])
    new = ids != plain_ids
    assert new.sum() > 20
    assert (ids[new] == ClassId.UNLABELED).all()
    assert (depth[new] < plain_depth[new]).all()
    np.testing.assert_array_equal(depth[~new], plain_depth[~new])


@pytest.mark.parametrize("kind", ["gl", "ray"])
def test_the_cube_is_drawn_in_its_size(kind, request):
    renderer = request.getfixturevalue(kind)
    qpos = np.stack([OVER_THE_CUBE] * 3)
    ids, _ = renderer.render(qpos, None, np.array([0.012, 0.015, 0.018]))
    small, nominal, large = (ids == ClassId.CUBE).sum((1, 2))
    assert small < 0.85 * nominal < nominal < 0.85 * large
    np.testing.assert_array_equal(ids[1], renderer.render(qpos[:1])[0][0])


def test_shadows_darken_a_part_of_the_table(gl):
    lamp = Light((0.0, -0.6, 0.8), (0.8, 0.8, 0.8), spot=False, shadow=False)
    looks = [flat(lights=(replace(lamp, shadow=shadow),), ambient=0.2) for shadow in (False, True)]
    bright, dark = gl.render_rgb(QPOS[:1].repeat(2, 0), looks).mean(-1)
    difference = bright - dark
    assert difference.min() > -10
    assert 0.02 < (difference > 40).mean() < 0.7


def test_every_table_and_background_can_be_drawn(gl):
    config = VisualRandomization()
    qpos = QPOS[:1].copy()
    qpos[0, :6] = [0, -1.2, 0.4, -0.5, 0, 0.8]  # looks at what is behind the table
    tables, backgrounds = (
        [
            gl.render_rgb(
                state, [flat(**{part: Surface(name, ((0.9, 0.9, 0.2), (0.1, 0.2, 0.6)), 0.2, 1)})]
            )[0]
            for name in patterns
        ]
        for part, patterns, state in (
            ("table", config.table_patterns, QPOS[:1]),
            ("background", config.background_patterns, qpos),
        )
    )
    for pictures in (tables, backgrounds):
        distinct = {picture.tobytes() for picture in pictures}
        assert len(distinct) == len(pictures)
    assert all(picture[:20].std() > 3 for picture in tables[1:])  # all but the plain one


def test_a_lens_bends_lines_that_do_not_pass_the_middle():
    picture = np.zeros((60, 80), np.uint8)
    picture[10] = picture[30] = 255
    bent = camera_effects.distort(picture, 0.1, smooth=False)
    rows = [bent[:30, column].nonzero()[0] for column in (5, 40)]
    # The middle of the upper line lies farther out than its ends.
    assert rows[1].mean() < rows[0].mean() - 1
    assert np.unique(bent[25:35].nonzero()[0]).size <= 2
    assert camera_effects.distort(picture, 0.0, smooth=False) is picture


def test_the_sensor_changes_brightness_colour_sharpness_and_noise():
    grey = np.full((480, 640, 3), 100, np.uint8)
    brighter = camera_effects.photographed(grey, Look(exposure=1.5), OVER_THE_CUBE)
    assert (brighter == 150).all()
    warm = camera_effects.photographed(grey, Look(white_balance=(1.2, 1, 0.8)), OVER_THE_CUBE)
    assert tuple(warm[0, 0]) == (120, 100, 80)
    noisy = camera_effects.photographed(grey, Look(noise=6.0), OVER_THE_CUBE).astype(float)
    assert noisy.std() == pytest.approx(6, rel=0.05)
    assert noisy.mean() == pytest.approx(100, abs=0.5)
    edge = grey.copy()
    edge[:, 320:] = 200
    blurred = camera_effects.photographed(edge, Look(blur=1.5), OVER_THE_CUBE)
    assert 100 < blurred[0, 319, 0] < 150
    packed = camera_effects.photographed(edge, Look(jpeg_quality=10), OVER_THE_CUBE)
    assert (packed != edge).any()
    assert abs(packed.astype(int) - edge).max() < 40


def test_a_dark_picture_is_exposed_longer():
    dark = np.full((48, 64, 3), 30, np.uint8)
    half = camera_effects.photographed(dark, Look(auto_exposure=0.5), OVER_THE_CUBE).mean()
    full = camera_effects.photographed(dark, Look(auto_exposure=1.0), OVER_THE_CUBE).mean()
    assert 50 < half < 80 < 110 < full < 125


def test_noise_differs_between_states_and_repeats_for_one():
    grey = np.full((48, 64, 3), 100, np.uint8)
    look = Look(noise=50.0, seed=4)
    first, again, other = (
        camera_effects.photographed(grey, look, qpos) for qpos in (QPOS[0], QPOS[0], QPOS[1])
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.3
    # A tenth of the lines: each pixel stands for the mean of a hundred.
    assert first.std() == pytest.approx(5, rel=0.1)


@pytest.mark.opengl
def test_a_small_picture_has_the_blur_of_the_large_one_it_stands_for(scene):
    look = flat(blur=3.0)
    large, small = GLRenderer(scene, 336, 336), GLRenderer(scene, 84, 84)
    pictures = [r.render_rgb(OVER_THE_CUBE[None], [look])[0] for r in (large, small)]
    large.close()
    small.close()
    reduced = cv2.resize(pictures[0], (84, 84), interpolation=cv2.INTER_AREA)
    assert abs(reduced.astype(int) - pictures[1]).mean() < 3


@pytest.mark.parametrize("kind", ["seg_depth", "rgb"])
def test_an_observation_shows_the_episode_s_own_look(kind, gl):
    visual = VisualRandomization(enabled=True)
    config = LiftConfig(stage=3, randomization=RandomizationConfig(visual=visual))
    task = LiftTask(config, 2, num_threads=1)
    task.seed([0, 1])
    task.reset(np.arange(2))
    observer = Observer(task.sim, kind, 84, "gl")
    seen = observer.observe()["rgb"]
    one = observer.observe(np.array([1]))["rgb"]
    np.testing.assert_array_equal(one[0], seen[1])
    task.sim.looks[1] = NEUTRAL
    other = observer.observe()["rgb"]
    observer.close()
    np.testing.assert_array_equal(other[0], seen[0])
    assert (other[1] != seen[1]).any()


def test_memory_that_an_earlier_picture_used_does_not_colour_a_distractor(scene):
    drawn = mujoco.MjvScene(scene.render_model, maxgeom=scene.render_model.ngeom + 8)
    left_over = drawn.geoms[0]
    left_over.objid, left_over.transparent = scene.render_model.geom(CUBE).id, 1
    add_distractors(drawn, place([BOX], np.array([0.25, 0, 0.015]), 0.015), gloss=None)
    assert drawn.ngeom == 1
    assert (drawn.geoms[0].objid, drawn.geoms[0].transparent) == (-1, 0)
