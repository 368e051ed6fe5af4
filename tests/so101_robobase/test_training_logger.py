"""Tables in Stable-Baselines3's layout, curves during training."""

import csv
import io
import sys

import pytest
from omegaconf import OmegaConf

from so101_robobase.training.logger import SB3Logger
from so101_robobase.training.table import format_table, sb3_names

TRAIN = {
    "iteration": 100,
    "env_steps": 3200,
    "env_episodes": 12,
    "total_time": 61.7,
    "buffer_size": 1600,
    "critic_loss": 0.123456,
    "episode_reward": 12.5,
    "episode_length": 180.0,
    "episode_success": 0.25,
    "env_steps_per_second": 812.4,
    "agent_batched_updates_per_second": 101.0,
    "env_info/cube_z": 0.02,
}


def _cfg(**changes):
    return OmegaConf.create({"save_csv": True, **changes})


def test_metrics_get_their_names_from_stable_baselines3():
    names = sb3_names({f"train/{key}": value for key, value in TRAIN.items()}, "train")
    assert names == {
        "rollout/ep_len_mean": 180.0,
        "rollout/ep_rew_mean": 12.5,
        "rollout/success_rate": 0.25,
        "time/fps": 812.4,
        "time/update_fps": 101.0,
        "time/iterations": 100,
        "time/episodes": 12,
        "time/time_elapsed": 61.7,
        "time/total_timesteps": 3200,
        "train/critic_loss": 0.123456,
        "train/buffer_size": 1600,
        "env/cube_z": 0.02,
    }
    assert next(iter(names)) == "rollout/ep_len_mean"


def test_evaluations_have_their_own_group():
    metrics = {"eval/extra": 2.0, "eval/episode_success": 1.0, "eval/max_cube_z": 0.1}
    run_state = {"eval/iteration": 7, "eval/total_time": 9.0, "eval/updates": 3}
    assert sb3_names(metrics | run_state, "eval") == {
        "eval/success_rate": 1.0,
        "eval/max_cube_z": 0.1,
        "eval/extra": 2.0,
    }


def test_pretraining_keeps_its_names():
    assert sb3_names({"pretrain/actor_loss": 1.0}, "pretrain") == {"pretrain/actor_loss": 1.0}


def test_the_table_is_framed_and_grouped():
    table = format_table({"rollout/success_rate": 0.25, "time/fps": 812.4, "time/iterations": 100})
    assert table.splitlines() == [
        "---------------------------",
        "| rollout/         |      |",
        "|     success_rate | 0.25 |",
        "| time/            |      |",
        "|     fps          | 812  |",
        "|     iterations   | 100  |",
        "---------------------------",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0812345, "0.0812"),
        (12.0, "12"),
        (12345.6, "12346"),
        (1.5e-7, "1.5e-07"),
        (-4e15, "-4e+15"),
    ],
)
def test_numbers_are_short(value, text):
    assert f"| {text} |" in format_table({"train/x": value})


def test_colour_changes_no_width(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    values = {"rollout/success_rate": 0.25, "time/fps": 3.0}
    plain = format_table(values)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    in_colour = format_table(values)
    assert "\033[" in in_colour
    for code in ("\033[36m", "\033[32m", "\033[0m"):
        in_colour = in_colour.replace(code, "")
    assert in_colour == plain


def test_a_table_is_printed_while_the_csv_keeps_the_engine_names(tmp_path, capsys):
    logger = SB3Logger(tmp_path, _cfg())
    logger.log_metrics(TRAIN, 3200, "train")
    printed = capsys.readouterr().out
    assert "| rollout/" in printed
    assert "cube_z" not in printed  # diagnostics of the environment stay in the files
    assert "success_rate" in printed
    with (tmp_path / "train.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["episode_success"] == "0.25"
    assert row["critic_loss"] == "0.123456"


def test_tensorboard_shows_the_names_of_the_table(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = SB3Logger(tmp_path, _cfg(tb={"use": True}))
    logger.log_metrics(TRAIN, 3200, "train")
    logger.close()
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert events.Scalars("rollout/success_rate")[0].value == 0.25


def test_curves_are_drawn_after_an_evaluation_and_at_the_end(tmp_path):
    picture = tmp_path / "learning_curves.png"
    logger = SB3Logger(tmp_path, _cfg())
    logger.log_metrics(TRAIN, 3200, "train")
    assert not picture.exists()
    logger.log_metrics({"episode_success": 0.5}, 3200, "eval")
    assert picture.exists()
    picture.unlink()
    logger.close()
    assert not picture.exists()  # nothing new since
    logger.log_metrics(TRAIN, 6400, "train")
    logger.close()
    assert picture.exists()


@pytest.mark.parametrize("cfg", [{}, {"save_csv": False}])
def test_without_csv_there_are_no_curves_and_no_error(tmp_path, cfg):
    logger = SB3Logger(tmp_path, OmegaConf.create(cfg))
    logger.log_metrics({"episode_success": 0.5}, 0, "eval")
    logger.close()
    assert list(tmp_path.iterdir()) == []
