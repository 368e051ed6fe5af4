"""Small agents and batches for the tests of networks and methods."""

from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from robobase import models
from robobase.method.bc import BC
from robobase.method.drqv2 import DrQV2
from robobase.method.ppo import PPO
from robobase.method.sac import SAC

T, Z, A = 3, 4, 2
HEAD: dict[str, Any] = {
    "num_rnn_layers": 1,
    "rnn_hidden_size": 8,
    "keys_to_bottleneck": ["fused_view_feats", "low_dim_obs", "time_obs"],
    "bottleneck_size": 16,
    "norm_after_bottleneck": True,
    "tanh_after_bottleneck": True,
    "mlp_nodes": [32, 32],
}


def observation_space(cameras=("rgb",), channels=2, size=21, low_dim=True, time=0) -> spaces.Dict:
    entries: dict[str, spaces.Space] = {
        name: spaces.Box(0, 255, (T, channels, size, size), np.uint8) for name in cameras
    }
    if low_dim:
        entries["low_dim_state"] = spaces.Box(-np.inf, np.inf, (T, Z), np.float32)
    if time:
        entries["time"] = spaces.Box(0, 1, (T, time), np.uint8)
    return spaces.Dict(entries)


def common(space: spaces.Dict, sequence: int) -> dict[str, Any]:
    return {
        "observation_space": space,
        "action_space": spaces.Box(-1, 1, (sequence, A), np.float32),
        "device": "cpu",
        "num_train_envs": 2,
        "replay_alpha": 0.7,
        "replay_beta": 0.5,
        "frame_stack_on_channel": True,
    }


def encoder_model(**overrides: Any) -> partial:
    keys = {"num_post_downsample_convs": 1, "channels": 8} | overrides
    return partial(models.EncoderCNNMultiViewDownsampleWithStrides, **keys)


def actor_critic(space: spaces.Dict | None) -> dict[str, Any]:
    """What every subclass of ActorCritic needs."""
    return {
        **common(space if space is not None else observation_space(), 1),
        "is_rl": True,
        "use_augmentation": True,
        "num_explore_steps": 0,
        "actor_lr": 1e-3,
        "critic_lr": 1e-3,
        "view_fusion_lr": 1e-3,
        "encoder_lr": 1e-3,
        "weight_decay": 0.0,
        "critic_target_tau": 0.01,
        "num_critics": 2,
        "actor_grad_clip": None,
        "critic_grad_clip": None,
        "always_bootstrap": False,
        "bc_lambda": 0.0,
        "action_sequence_network_type": "rnn",
        "actor_model": partial(
            models.MLPWithBottleneckFeaturesAndSequenceOutput,
            output_sequence_network_type="rnn",
            output_sequence_length=1,
            **HEAD,
        ),
        "critic_model": partial(models.MLPWithBottleneckFeatures, output_shape=1, **HEAD),
        "encoder_model": encoder_model(),
        "view_fusion_model": models.FusionMultiCamFeature,
        "critic_updates_shared_vision_encoder": True,
        "distributional_critic": False,
        "distributional_critic_limit": 20,
        "distributional_critic_atoms": 251,
        "distributional_critic_transform": True,
    }


def make_drqv2(space: spaces.Dict | None = None, seed: int = 0, **overrides: Any) -> DrQV2:
    torch.manual_seed(seed)
    noise = {"stddev_schedule": 0.1, "stddev_clip": 0.3}
    return DrQV2(**(actor_critic(space) | noise | overrides)).train()


def make_sac(space: spaces.Dict | None = None, seed: int = 0, **overrides: Any) -> SAC:
    torch.manual_seed(seed)
    own = {
        "temperature_lr": 1e-3,
        "init_temperature": 0.1,
        "target_entropy": None,
        "log_std_bounds": (-10, 2),
    }
    return SAC(**(actor_critic(space) | own | overrides)).train()


def make_ppo(space: spaces.Dict | None = None, seed: int = 0, **overrides: Any) -> PPO:
    torch.manual_seed(seed)
    shared = actor_critic(space)
    models_and_rates = {
        key: value for key, value in shared.items() if key.endswith(("_model", "_lr"))
    }
    arguments = {
        **common(space if space is not None else observation_space(), 1),
        **models_and_rates,
        "is_rl": True,
        "rollout_length": 8,
        "num_epochs": 2,
        "minibatch_size": 8,
        "clip_range": 0.2,
        "gamma": 0.9,
        "gae_lambda": 0.95,
        "value_coef": 0.5,
        "entropy_coef": 0.0,
        "init_std": 1.0,
        "grad_clip": 0.5,
        "weight_decay": 0.0,
        "reward_scale": 1.0,
    } | overrides
    return PPO(**arguments).train()


def make_bc(space: spaces.Dict | None = None, sequence: int = 2, **overrides: Any) -> BC:
    torch.manual_seed(0)
    head = HEAD | {"keys_to_bottleneck": []}
    arguments = {
        **common(space if space is not None else observation_space(), sequence),
        "lr": 1e-3,
        "adaptive_lr": False,
        "num_train_steps": 1000,
        "actor_model": partial(
            models.MLPWithBottleneckFeaturesAndSequenceOutput,
            output_sequence_network_type="rnn",
            output_sequence_length=sequence,
            **head,
        ),
        "encoder_model": encoder_model(),
        "view_fusion_model": models.FusionMultiCamFeature,
    } | overrides
    return BC(**arguments).train()


def make_batch(space: spaces.Dict, size: int = 16, sequence: int = 1, seed: int = 0) -> dict:
    """Random transitions as the replay buffer gives them."""
    g = torch.Generator().manual_seed(seed)
    batch: dict[str, torch.Tensor] = {}
    for key, box in space.items():
        for suffix in ("", "_tp1"):
            shape = (size, *(box.shape or ()))
            if key == "low_dim_state":
                batch[key + suffix] = torch.randn(shape, generator=g)
            else:
                high = 256 if key.startswith("rgb") else 2
                batch[key + suffix] = torch.randint(0, high, shape, generator=g, dtype=torch.uint8)
    batch["action"] = torch.rand(size, sequence, A, generator=g) * 2 - 1
    batch["reward"] = torch.randn(size, generator=g)
    batch["terminal"] = torch.zeros(size, dtype=torch.int8)
    batch["truncated"] = torch.zeros(size, dtype=torch.int8)
    batch["discount"] = torch.full((size,), 0.97)
    batch["indices"] = torch.arange(size)
    return batch
