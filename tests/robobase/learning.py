"""What the slow tests of learning have in common: network sizes, and how success is measured."""

import time

from tiny_task import TinyVectorEnv

from robobase import evaluation
from robobase.workspace import Workspace

DEEPER_ENCODER = [
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


def success_and_seconds(run: Workspace) -> tuple[float, float]:
    """Train; success of 100 new episodes, and the CPU time of training and evaluation."""
    start = time.process_time()  # of all threads: what one core would take, whatever else it does
    run.train()
    envs = TinyVectorEnv(100, run.cfg.env.episode_length, run.cfg.pixels)
    steps = run.global_env_steps
    result = evaluation.evaluate(run.agent, envs, num_episodes=100, seed=5_000_000, step=steps)
    seconds = time.process_time() - start
    assert result.success is not None
    print(f"success {result.success.mean():.0%} after {seconds:.0f} s")
    return float(result.success.mean()), seconds
