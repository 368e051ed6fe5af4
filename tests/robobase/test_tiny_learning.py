"""The engine learns: DrQ-v2 solves the point task from its picture."""

import time

import pytest
from tiny_task import TinyVectorEnv, tiny_config

from robobase import evaluation
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
    "method.actor_lr=1e-3",
    "method.critic_lr=1e-3",
    "method.encoder_lr=1e-3",
    "method.encoder_model.channels=16",
    "method.encoder_model.num_post_downsample_convs=2",
    "method.actor_model.mlp_nodes=[256,256]",
    "method.critic_model.mlp_nodes=[256,256]",
    "method.actor_model.bottleneck_size=50",
    "method.critic_model.bottleneck_size=50",
]


@pytest.mark.slow
def test_drqv2_reaches_the_target_from_pixels_in_under_three_minutes(tmp_path):
    start = time.process_time()  # of all threads: what one core would take, whatever else it does
    run = Workspace(tiny_config(*LEARNING), work_dir=tmp_path)
    run.train()
    result = evaluation.evaluate(
        run.agent, TinyVectorEnv(100, 20), num_episodes=100, seed=5_000_000, step=20_000
    )
    seconds = time.process_time() - start
    assert result.success is not None
    print(f"success {result.success.mean():.0%} after {seconds:.0f} s")
    assert result.success.mean() >= 0.9
    assert seconds < 180
