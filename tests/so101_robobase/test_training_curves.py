"""The learning curves are drawn from whatever the tables hold."""

import imageio.v3 as iio
import numpy as np
import pytest

from so101_robobase.training.curves import moving_average, plot_learning_curves

TABLES = {
    "everything": {
        "train.csv": "step,episode_success,episode_reward,critic_loss,actor_loss,critic_target_q\n"
        "0,0,1.5,,,\n10,0.5,2.5,0.1,-3,4\n20,1,nan,0.01,-4,5\n",
        "eval.csv": "step,episode_success,episode_length\n0,0,200\n20,1,90\n",
    },
    "training only": {"train.csv": "step,critic_loss\n0,0.5\n10,-0.1\n"},
    "evaluation only": {"eval.csv": "step,episode_reward\n0,5\n"},
    "a line cut short": {"train.csv": "step,episode_reward,critic_loss\n0,5,1\n10,3"},
    "one point at step 0": {"train.csv": "step,episode_success\n0,0\n"},
}


@pytest.mark.parametrize("name", TABLES)
def test_curves_are_drawn(tmp_path, name):
    for file, text in TABLES[name].items():
        (tmp_path / file).write_text(text)
    assert plot_learning_curves(tmp_path, tmp_path / "curves.png")
    picture = iio.imread(tmp_path / "curves.png")
    assert picture.shape[0] > 200
    assert picture[..., :3].std() > 5  # not an empty page
    assert {file.name for file in tmp_path.iterdir()} == {*TABLES[name], "curves.png"}


@pytest.mark.parametrize("text", [None, "", "step,buffer_size\n0,5\n", "step,episode_reward\n"])
def test_with_nothing_to_draw_no_picture_is_written(tmp_path, text):
    if text is not None:
        (tmp_path / "train.csv").write_text(text)
    assert not plot_learning_curves(tmp_path, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_a_success_rate_that_rises_is_seen_rising(tmp_path):
    rows = "".join(f"{k * 100},{k / 99}\n" for k in range(100))
    (tmp_path / "train.csv").write_text("step,episode_success\n" + rows)
    plot_learning_curves(tmp_path, tmp_path / "curves.png")
    picture = iio.imread(tmp_path / "curves.png").astype(int)
    blue = (picture[..., 2] - picture[..., 0]) > 60  # the training line
    height, width = np.nonzero(blue)
    assert np.corrcoef(width, -height)[0, 1] > 0.95


def test_the_smoothed_line_is_a_mean_over_the_recent_past():
    value = np.array([4.0, 2.0, 6.0, 1.0])
    np.testing.assert_allclose(moving_average(value, 2), [4.0, 3.0, 4.0, 3.5])
    np.testing.assert_allclose(moving_average(value, 1), value)
