"""Every setting of `cfgs/robobase_config.yaml`: its kind, its range, and when anything reads it."""

from robobase.settings.kinds import (
    Choice,
    Either,
    Flag,
    Items,
    Number,
    OrNull,
    Target,
    Text,
    Whole,
)
from robobase.settings.setting import Need, Setting, given, never, null, on

_STEPS = Whole(0, 10**12)
_EVERY = OrNull(_STEPS)
_SAVING, _MERGING = on("save_snapshot"), given("demo_batch_size")
_OFF_POLICY = null("method.rollout_length")
_REWARDED = on("method.is_rl")
_EVALUATED = Need(
    "eval_every_steps above 0 or num_train_envs=0",
    ("eval_every_steps", "num_train_envs"),
    lambda every, envs: bool(every) or envs == 0,
)
_EPISODES = (_EVALUATED, on("num_eval_episodes"))
_OVERLAPPING = Need(
    "execution_length below action_sequence",
    ("execution_length", "action_sequence"),
    lambda executed, planned: executed < planned,
)
_SEED = Whole(0, 2**31 - 1)

RUN: dict[str, Setting] = {
    "experiment_name": Setting(Text()),
    "seed": Setting(_SEED),
    "num_gpus": Setting(Whole(0, 64)),
    "num_threads": Setting(OrNull(Whole(1, 1024))),
    "time_limit_minutes": Setting(OrNull(Number(0, 10**7))),
    "resume_from": Setting(OrNull(Text())),
    "progress_bar": Setting(Flag()),
    "trial": Setting(OrNull(Whole(0, 10**9))),
    # training
    "num_train_envs": Setting(Whole(0, 10**6)),
    "num_train_frames": Setting(_STEPS),
    "num_explore_steps": Setting(_STEPS, never("the method does not explore at random")),
    "replay_size_before_train": Setting(_STEPS, _OFF_POLICY),
    "batch_size": Setting(Whole(1, 10**7), _OFF_POLICY),
    "update_every_steps": Setting(Whole(1, 10**9), _OFF_POLICY, null("utd_ratio")),
    "utd_ratio": Setting(OrNull(Number(0, 1000)), _OFF_POLICY),
    "num_pretrain_steps": Setting(_STEPS, _OFF_POLICY),
    "is_imitation_learning": Setting(Flag()),
    # demonstrations
    "demos": Setting(Either(Whole(-1, 10**7), Choice(float("inf")))),
    "demo_batch_size": Setting(OrNull(Whole(1, 10**7)), on("demos")),
    "use_self_imitation": Setting(Flag(), _MERGING),
    # observation and action
    "pixels": Setting(Flag()),
    "visual_observation_shape": Setting(Items(Whole(1, 4096), 2, 2), on("pixels")),
    "frame_stack": Setting(Whole(1, 64)),
    "frame_stack_on_channel": Setting(Flag()),
    "use_onehot_time_and_no_bootstrap": Setting(Flag()),
    "action_repeat": Setting(Whole(1, 100)),
    "action_sequence": Setting(Whole(1, 1000)),
    "execution_length": Setting(Whole(1, 1000)),
    "temporal_ensemble": Setting(Flag(), _OVERLAPPING),
    "temporal_ensemble_gain": Setting(Number(0, 1000), _OVERLAPPING, on("temporal_ensemble")),
    "use_standardization": Setting(Flag()),
    "use_min_max_normalization": Setting(Flag()),
    "min_max_margin": Setting(Number(0, 10), on("use_min_max_normalization")),
    "norm_obs": Setting(Flag()),
    # evaluation
    "eval_every_steps": Setting(_EVERY),
    "num_eval_episodes": Setting(Whole(0, 10**6), _EVALUATED),
    "num_eval_envs": Setting(Whole(1, 10**6), *_EPISODES),
    "eval_seed": Setting(_SEED, *_EPISODES),
    "log_eval_video": Setting(Flag(), *_EPISODES),
    "log_eval_video_every_n_evals": Setting(
        OrNull(Whole(0, 10**9)), *_EPISODES, on("log_eval_video")
    ),
    # snapshots
    "save_snapshot": Setting(Flag()),
    "snapshot_every_n": Setting(_EVERY, _SAVING),
    "snapshot_replay": Setting(Choice(True, False, "on_stop"), _SAVING),
    "snapshot_keeper.keep_last": Setting(Whole(1, 10**6), _SAVING),
    "snapshot_keeper.keep_every": Setting(OrNull(Whole(1, 10**12)), _SAVING),
    "snapshot_keeper._target_": Setting(Target(), _SAVING),
    "snapshot_keeper.ranking._target_": Setting(Target(), _SAVING),
    # logging
    "log_every": Setting(_EVERY),
    "log_pretrain_every": Setting(Whole(1, 10**12), on("num_pretrain_steps")),
    "save_csv": Setting(Flag()),
    "logger._target_": Setting(Target()),
    "tb.use": Setting(Flag()),
    "tb.log_dir": Setting(OrNull(Text()), on("tb.use")),
    "tb.name": Setting(OrNull(Text()), on("tb.use"), given("tb.log_dir")),
    "wandb.use": Setting(Flag()),
    "wandb.mode": Setting(Choice("offline", "online"), on("wandb.use")),
    "wandb.project": Setting(Text(), on("wandb.use")),
    "wandb.entity": Setting(OrNull(Text()), on("wandb.use")),
    "wandb.name": Setting(OrNull(Text()), on("wandb.use")),
    # replay
    "replay.prioritization": Setting(Flag(), _OFF_POLICY),
    "replay.size": Setting(Whole(1, 10**10), _OFF_POLICY),
    "replay.gamma": Setting(Number(0, 1), _REWARDED),
    "replay.nstep": Setting(Whole(1, 10**4), _OFF_POLICY),
    "replay.demo_size": Setting(OrNull(Whole(1, 10**10)), _MERGING),
    "replay.save_dir": Setting(OrNull(Text()), on("replay.memory_mapped")),
    "replay.memory_mapped": Setting(Flag(), _OFF_POLICY),
    "replay.num_workers": Setting(Whole(0, 256), _OFF_POLICY),
    "replay.pin_memory": Setting(Flag(), _OFF_POLICY),
    "replay.alpha": Setting(Number(0, 10), on("replay.prioritization")),
    "replay.beta": Setting(Number(0, 10), on("replay.prioritization")),
    "replay.sequential": Setting(Flag(), _OFF_POLICY),
    "replay.transition_seq_len": Setting(Whole(1, 10**4), on("replay.sequential")),
    # parts of other packages, which check what else they hold
    "env_factory._target_": Setting(Target()),
    "env_settings": Setting(OrNull(Target())),
}
