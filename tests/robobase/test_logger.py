"""What is logged arrives on the console, in CSV files, TensorBoard and Weights & Biases."""

import csv
import sys
import types

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from robobase.errors import UserError
from robobase.logger import COMMON_TRAIN_FORMAT, AverageMeter, Logger, MetersGroup, coloured


def _cfg(**changes):
    return OmegaConf.create({"save_csv": True, **changes})


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("prefix", ["train", "eval", "pretrain", "pretrain_eval"])
def test_each_prefix_has_its_table(tmp_path, prefix):
    logger = Logger(tmp_path, _cfg())
    logger.log_metrics({"episode_reward": 3.5, "env_info/height": 2}, 40, prefix)
    logger.close()
    assert _rows(tmp_path / f"{prefix}.csv") == [
        {"step": "40", "episode_reward": "3.5", "env_info_height": "2"}
    ]


def test_an_unknown_prefix_is_named(tmp_path):
    with pytest.raises(UserError, match="prefix='test'"):
        Logger(tmp_path, _cfg()).log_metrics({"x": 1}, 0, "test")


def test_every_kind_of_number_is_logged_and_everything_else_dropped(tmp_path):
    Logger(tmp_path, _cfg()).log_metrics(
        {
            "python": 1,
            "numpy": np.float32(2),
            "zero_d": np.array(3),
            "tensor": torch.tensor(4.0, requires_grad=True),
            "flag": True,
            "vector": np.array([5.0, 6.0]),
            "text": "hello",
            "none": None,
            "words": np.array(["a", "b"]),
            "info": {"a": 1},
            "image": np.zeros((3, 8, 8), np.uint8),
        },
        0,
        "train",
    )
    assert _rows(tmp_path / "train.csv") == [
        {
            "step": "0",
            "python": "1",
            "numpy": "2",
            "zero_d": "3",
            "tensor": "4",
            "flag": "1",
            "vector0": "5",
            "vector1": "6",
        }
    ]


def test_without_save_csv_nothing_is_written(tmp_path):
    Logger(tmp_path, OmegaConf.create({})).log_metrics({"x": 1}, 0, "train")
    assert list(tmp_path.iterdir()) == []


def test_the_console_line_shows_the_common_metrics_without_colour_codes(tmp_path, capsys):
    metrics = {"env_steps": 1200, "total_time": 61.0, "critic_loss": 0.1, "iteration": 7}
    Logger(tmp_path, _cfg()).log_metrics(metrics, 1200, "train")
    line = capsys.readouterr().out
    assert line == "train  | I: 7 | S: 1200 | T: 0:01:01\n"


def test_colour_needs_a_terminal_and_obeys_no_color(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured("x", "red") == "x"
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(isatty=lambda: True))
    assert coloured("x", "red") == "\033[31mx\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("x", "red") == "x"


def test_meters_average_until_they_are_dumped(tmp_path, capsys):
    group = MetersGroup(tmp_path / "train.csv", COMMON_TRAIN_FORMAT, save_csv=True)
    group.log("train/loss", 1.0)
    group.log("train/loss", 5.0, n=2)
    group.dump(10, "train")
    group.log("train/loss", 7.0)
    group.dump(20, "train")
    assert [row["loss"] for row in _rows(tmp_path / "train.csv")] == ["2", "7"]
    assert AverageMeter().value() == 0


def test_tensorboard_gets_scalars_images_and_videos(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = Logger(tmp_path, _cfg(tb={"use": True, "log_dir": None, "name": None}))
    video = {"video": np.zeros((4, 8, 6, 3), np.uint8), "fps": 4}
    metrics = {"reward": 2.5, "rgb": torch.zeros(5, 9, 8, 6), "rollout": video}
    logger.log_metrics(metrics, 30, "eval")
    logger.close()
    logger.close()
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("eval/reward")] == [(30, 2.5)]
    image, movie = events.Images("eval/rgb")[0], events.Images("eval/rollout")[0]
    assert (image.width, image.height) == (6, 8)
    assert movie.encoded_image_string.startswith(b"GIF89a")


def test_a_long_video_becomes_a_small_preview(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = Logger(tmp_path, _cfg(tb={"use": True}))
    video = np.zeros((150, 300, 200, 3), np.uint8)
    video += np.arange(150, dtype=np.uint8)[:, None, None, None]
    logger.log_metrics({"rollout": {"video": video, "fps": 20}}, 0, "eval")
    logger.close()
    movie = EventAccumulator(str(tmp_path / "tb")).Reload().Images("eval/rollout")[0]
    assert iio.imread(movie.encoded_image_string, extension=".gif").shape == (75, 150, 100, 3)


def test_tensorboard_folder_can_be_named(tmp_path):
    tb = {"use": True, "log_dir": str(tmp_path / "all"), "name": "mine"}
    Logger(tmp_path, _cfg(tb=tb)).close()
    assert (tmp_path / "all" / "mine").is_dir()


def test_a_missing_wandb_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="pip install wandb"):
        Logger(tmp_path, _cfg(wandb={"use": True, "project": "p", "name": None}))


def test_importing_the_logger_imports_neither_backend():
    import subprocess

    code = (
        "import sys, robobase.logger;"
        "assert not {'wandb', 'tensorboard', 'moviepy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
