"""Every setting of the methods, models and intrinsic rewards in `cfgs`: kind, range, and readers.

A setting means the same in every method that has it. Which method takes which is not said here:
the parameters of its class say it.
"""

from robobase.settings.kinds import (
    Choice,
    Either,
    Filled,
    Flag,
    Items,
    Number,
    OrNull,
    Range,
    Schedule,
    Whole,
)
from robobase.settings.setting import Need, Setting, given, never, off, on

ENCODER_NORMS = ("identity", "layer_for_cnn", "img_ch_layer", "group", "batch2d")
HEAD_NORMS = ("identity", "layer", "group", "batch1d")
ACTIVATIONS = ("relu", "lrelu", "elu", "tanh", "prelu", "silu", "gelu")
_HEAD_INPUTS = ("fused_view_feats", "low_dim_obs", "time_obs", "actions", "features")

_RATE = Setting(Number(0, 1))  # of learning
_CLIP = Setting(OrNull(Number(above=0, most=10**9)))
_SEEING = on("pixels")
_DISTRIBUTED = on("method.distributional_critic")

_METHOD = {
    "is_rl": Setting(Flag()),
    "lr": _RATE,
    "adaptive_lr": Setting(Flag()),
    "num_train_steps": Setting(Whole(0, 10**12), on("method.adaptive_lr")),
    "num_explore_steps": Setting(Whole(0, 10**12)),
    "actor_lr": _RATE,
    "critic_lr": _RATE,
    "encoder_lr": _RATE.and_needs(_SEEING),
    "view_fusion_lr": _RATE.and_needs(_SEEING),
    "weight_decay": Setting(Number(0, 10)),
    "actor_grad_clip": _CLIP,
    "critic_grad_clip": _CLIP,
    "grad_clip": _CLIP,
    "weight_average": Setting(OrNull(Number(least=0, below=1))),
    "reward_scale": Setting(Number(above=0, most=10**6)),
    # what a method sees
    "normalise_low_dim": Setting(Flag()),
    "image_stride": Setting(Whole(1, 64), _SEEING),
    "use_augmentation": Setting(Flag(), _SEEING),
    "augmentation_pixels": Setting(Whole(1, 256), _SEEING, on("method.use_augmentation")),
    "encoder_precision": Setting(Choice("float32", "bfloat16", "auto"), _SEEING),
    # actor and critic
    "stddev_schedule": Setting(Schedule(0, 10)),
    "stddev_clip": Setting(Number(0, 10)),
    "num_critics": Setting(Whole(1, 64)),
    "critic_target_tau": Setting(Number(above=0, most=1)),
    "bc_lambda": Setting(Number(0, 10**6), on("demos")),
    "always_bootstrap": Setting(Flag()),
    "action_sequence_network_type": Setting(
        Choice("rnn", "mlp"), never("the actor's model has it")
    ),
    "critic_updates_shared_vision_encoder": Setting(Choice(True)),
    "distributional_critic": Setting(Flag()),
    "distributional_critic_limit": Setting(Number(above=0, most=10**6), _DISTRIBUTED),
    "distributional_critic_atoms": Setting(Whole(2, 10_001), _DISTRIBUTED),
    "distributional_critic_transform": Setting(Flag(), _DISTRIBUTED),
    # SAC
    "init_temperature": Setting(Number(above=0, most=1000)),
    "temperature_lr": _RATE,
    "target_entropy": Setting(OrNull(Number(-(10**4), 10**4))),
    "log_std_bounds": Setting(Range(Number(-20, 10))),
    # PPO
    "rollout_length": Setting(Whole(1, 10**6)),
    "num_epochs": Setting(Whole(1, 1000)),
    "minibatch_size": Setting(Whole(1, 10**7)),
    "clip_range": Setting(Number(above=0, most=10)),
    "gamma": Setting(Number(0, 1)),
    "gae_lambda": Setting(Number(0, 1)),
    "value_coef": Setting(Number(0, 1000)),
    "entropy_coef": Setting(Number(0, 1000)),
    "init_std": Setting(Number(above=0, most=10)),
    # DAgger
    "teacher_share": Setting(Schedule(0, 1)),
    "noise": Setting(Number(0, 10)),
}

_RECURRENT = off("frame_stack_on_channel")
_SHAPE = Either(Whole(1, 10**6), Items(Whole(1, 10**6), 1, 4))


def _head(group: str, output: Setting) -> dict[str, Setting]:
    bottleneck = Need(".keys_to_bottleneck not []", (".keys_to_bottleneck",)).within(group)
    return {
        "input_shapes": Setting(Filled()),
        "output_shape": output,
        "num_envs": Setting(Filled()),
        "num_rnn_layers": Setting(Whole(1, 16), _RECURRENT),
        "rnn_hidden_size": Setting(Whole(1, 16_384), _RECURRENT),
        "keys_to_bottleneck": Setting(Items(Choice(*_HEAD_INPUTS), 0, len(_HEAD_INPUTS))),
        "bottleneck_size": Setting(Whole(1, 16_384), bottleneck),
        "norm_after_bottleneck": Setting(Flag(), bottleneck),
        "tanh_after_bottleneck": Setting(Flag(), bottleneck),
        "mlp_nodes": Setting(Items(Whole(1, 16_384), 1, 16)),
        "activation": Setting(Choice(*ACTIVATIONS)),
        "norm": Setting(Choice(*HEAD_NORMS)),
        "linear_bias": Setting(Flag()),
        "output_sequence_network_type": Setting(
            Choice("rnn", "mlp"),
            Need("action_sequence above 1", ("action_sequence",), lambda n: n > 1),
        ),
        "output_sequence_length": Setting(Whole(1, 1000)),
    }


_ENCODER = {
    "input_shape": Setting(Filled()),
    "num_downsample_convs": Setting(Whole(0, 10)),
    "num_post_downsample_convs": Setting(Whole(0, 32)),
    "channels": Setting(Whole(1, 2048)),
    "kernel_size": Setting(Whole(1, 63)),
    "padding": Setting(Whole(0, 63)),
    "channels_multiplier": Setting(Whole(1, 16)),
    "activation": Setting(Choice(*ACTIVATIONS)),
    "norm": Setting(Choice(*ENCODER_NORMS)),
    "normalise_inputs": Setting(Flag()),
    "stem_stride": Setting(Whole(1, 64), on("method.encoder_model.num_downsample_convs")),
    "stem_kernel_size": Setting(
        OrNull(Whole(1, 63)), on("method.encoder_model.num_downsample_convs")
    ),
    "channel_kinds": Setting(OrNull(Items(Choice("ids", "value"), 1, 64))),
    "num_classes": Setting(OrNull(Whole(2, 256)), given("method.encoder_model.channel_kinds")),
}

_FUSION = {
    "input_shape": Setting(Filled()),
    "mode": Setting(Choice("flatten", "average", "sum")),
    "hidden_size": Setting(Whole(1, 16_384)),
    "depth": Setting(Whole(0, 64)),
    "num_heads": Setting(Whole(1, 256)),
    "mlp_ratio": Setting(Number(above=0, most=64)),
}

_INTRINSIC = {
    "beta": Setting(Number(0, 10**6)),
    "kappa": Setting(Number(least=0, below=1)),
    "latent_dim": Setting(Whole(1, 16_384)),
    "lr": _RATE,
}


def _all() -> dict[str, dict[str, Setting]]:
    seeing = {key: setting.and_needs(_SEEING) for key, setting in _ENCODER.items()}
    return {
        "method": _METHOD,
        "method.actor_model": _head("method.actor_model", Setting(Filled())),
        "method.critic_model": _head("method.critic_model", Setting(_SHAPE)),
        "method.encoder_model": seeing,
        "method.view_fusion_model": _FUSION,
        "intrinsic_reward_module": _INTRINSIC,
    }


PARTS = _all()
"""{group of the config: {key in it: setting}}, each group being built from a `_target_`."""
