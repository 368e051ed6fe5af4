import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.sim.gl_renderer import GLUnavailableError
from so101_robobase.sim.scene import build_scene
from so101_robobase.sim.views import Views

QPOS = np.array([0, -0.2, 0.4, 1.2, 1.5, 0.8, 0.25, 0, 0.015, 1, 0, 0, 0])


@pytest.fixture(scope="module")
def views():
    try:
        views = Views(build_scene(), (60, 80), reduced=True)
    except GLUnavailableError as error:
        pytest.skip(str(error))
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
