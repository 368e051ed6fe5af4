"""The engine learns: DrQ-v2 solves the point task from its picture."""

import pytest
from learning import DEEPER_ENCODER, success_and_seconds
from tiny_task import tiny_config

from robobase.workspace import Workspace

LEARNING = [
    "num_threads=1",
    "num_train_envs=8",
    "num_train_frames=20000",
    "num_explore_steps=1000",
    "replay_size_before_train=1000",
    "env.stddev_schedule='linear(1.0,0.1,10000)'",
    "utd_ratio=0.25",
    "batch_size=64",
    "replay.gamma=0.9",
    "eval_every_steps=5000",
    "num_eval_episodes=50",
    "num_eval_envs=50",
    "log_every=1000",
    "save_snapshot=true",
    "snapshot_every_n=null",
    *DEEPER_ENCODER,
]


@pytest.mark.slow
def test_drqv2_reaches_the_target_from_pixels_in_under_three_minutes(tmp_path):
    success, seconds = success_and_seconds(Workspace(tiny_config(*LEARNING), work_dir=tmp_path))
    assert success >= 0.9
    assert seconds < 180
