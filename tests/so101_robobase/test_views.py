import cv2
import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.sim.appearance import Distractor, Light, Look, Surface
from so101_robobase.sim.scene import build_scene
from so101_robobase.sim.views import Views

QPOS = np.array([0, -0.2, 0.4, 1.2, 1.5, 0.8, 0.25, 0, 0.015, 1, 0, 0, 0])


@pytest.fixture(scope="module")
def views(opengl):
    views = Views(build_scene(), (60, 80), reduced=True)
    yield views
    views.close()


def red_pixels(picture):
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    return np.argwhere((red > 2 * green) & (red > 2 * blue) & (red > 60))


def test_every_view_shows_a_cube_in_front_of_the_arm(views):
    assert views.names == ("topdown", "side", "front", "iso", "wrist_cam")
    qpos = QPOS.copy()
    qpos[6:9] = [0.3, 0.02, 0.015]
    pictures = views.render(qpos, views.names)
    for name, picture in pictures.items():
        assert picture.shape == (60, 80, 3), name
        assert picture.dtype == np.uint8, name
        assert len(red_pixels(picture)) >= 2, name


def test_topdown_has_x_up_and_y_to_the_left(views):
    def where(x, y):
        picture = views.render([0] * 6 + [x, y, 0.015, 1, 0, 0, 0], ["topdown"])["topdown"]
        return red_pixels(picture).mean(0)

    row, column = where(0.2, 0.15)
    assert where(0.3, 0.15)[0] < row
    assert where(0.2, -0.15)[1] > column


def test_full_meshes_give_nearly_the_same_picture(views):
    full = Views(build_scene(), (60, 80))
    pictures = [v.render(QPOS, ["side"])["side"].astype(int) for v in (full, views)]
    full.close()
    assert abs(pictures[0] - pictures[1]).mean() < 8


@pytest.mark.parametrize("name", ["side", "front", "iso"])
def test_a_cube_lifted_as_high_as_the_arm_reaches_stays_in_the_picture(views, name):
    qpos = [0, -0.9, 0.4, 0.5, 0, 0.1, 0.3, 0, 0.28, 1, 0, 0, 0]
    rows = red_pixels(views.render(qpos, [name])[name])[:, 0]
    assert rows.size >= 2
    assert rows.min() > 3


def test_an_unknown_camera_is_refused_before_anything_is_drawn(views):
    with pytest.raises(UserError, match="camera='back' is unknown; known: topdown, side"):
        views.render(QPOS, ["iso", "back"])


def _look(**changes):
    lamp = Light(position=(0.25, -0.3, 1.0), diffuse=(0.6, 0.6, 0.6), spot=False, shadow=True)
    table = Surface("plain", ((0.1, 0.2, 0.7), (0.1, 0.2, 0.7)), scale=0.2, seed=0)
    return Look(lights=(lamp,), ambient=0.3, headlight=0.2, table=table, **changes)


def test_an_episodes_look_is_in_every_view(views):
    thing = Distractor("box", (0.15, 0.15), 0.0, (0.03, 0.03, 0.03), (0.1, 0.9, 0.1))
    look = _look(cube_color=(0.1, 0.9, 0.1), distractors=(thing,))
    plain, dressed = views.render(QPOS, views.names), views.render(QPOS, views.names, look)
    for name in ("topdown", "side", "front", "iso"):
        assert len(red_pixels(plain[name])) >= 2, name
        assert len(red_pixels(dressed[name])) == 0, name
        red, green, blue = dressed[name].astype(int).transpose(2, 0, 1)
        assert ((green > 1.5 * red) & (green > 1.5 * blue)).sum() > 10, name  # cube and distractor
        assert ((blue > 1.5 * red) & (blue > 1.2 * green)).sum() > 100, name  # table


def test_without_a_look_the_scene_is_as_it_was(views):
    before = views.render(QPOS, ["iso"])["iso"]
    views.render(QPOS, ["iso"], _look())
    np.testing.assert_array_equal(views.render(QPOS, ["iso"])["iso"], before)


def test_full_meshes_wear_the_look_too(views):
    full = Views(build_scene(), (60, 80))
    look = _look(robot_color=(0.1, 0.6, 0.1))
    pictures = [v.render(QPOS, ["side"], look)["side"].astype(int) for v in (full, views)]
    full.close()
    assert abs(pictures[0] - pictures[1]).mean() < 8


def test_a_larger_cube_is_drawn_larger(views):
    small, large = (
        len(red_pixels(views.render(QPOS, ["topdown"], None, half)["topdown"]))
        for half in (0.01, 0.02)
    )
    assert large > 2 * small


def test_the_wrist_picture_is_what_a_policy_of_colours_sees(views, gl):
    seen = gl.render_rgb(QPOS[None], [_look()], np.array([0.02]))[0]
    shown = views.wrist(QPOS, _look(), 0.02)
    assert shown.shape == (60, 60, 3)
    enlarged = cv2.resize(seen, (60, 60), interpolation=cv2.INTER_AREA).astype(int)
    assert abs(enlarged - shown).mean() < 8
