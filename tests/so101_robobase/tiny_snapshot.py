"""Snapshots of the lift task with a few random weights, as training writes them."""

from pathlib import Path

import hydra
import torch
from omegaconf import OmegaConf

from robobase import run_state, snapshot

_SMALL = [
    "env=so101_lift",
    "frame_stack=2",
    "method.actor_model.mlp_nodes=[8]",
    "method.critic_model.mlp_nodes=[8]",
]
_PICTURES = ["method.encoder_model.channels=4", "method.encoder_model.stem_stride=4"]


def save_tiny_snapshot(folder: Path, *overrides: str) -> Path:
    """<folder>/snapshots/0_snapshot.pt of a run with these `overrides`."""
    small = _SMALL + ([] if "pixels=false" in overrides else _PICTURES)
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        cfg = hydra.compose("robobase_config", overrides=[*small, *overrides])
    env = hydra.utils.instantiate(cfg.env_factory).make_eval_env(cfg)
    torch.manual_seed(0)
    agent = hydra.utils.instantiate(
        cfg.method,
        device="cpu",
        observation_space=env.observation_space,
        action_space=env.action_space,
        num_train_envs=1,
        replay_alpha=0.7,
        replay_beta=0.5,
        frame_stack_on_channel=True,
    )
    path = folder / "snapshots" / "0_snapshot.pt"
    payload = {
        "cfg": OmegaConf.to_yaml(cfg),
        "spaces": run_state.describe_spaces(env.observation_space, env.action_space),
        "agent": agent.state_dict(),
        "training": agent.training_state(),
    }
    env.close()
    snapshot.write(path, payload)
    return path
