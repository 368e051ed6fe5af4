"""Settings that contradict each other, found before anything is built."""

from omegaconf import DictConfig

from robobase.errors import UserError

_AT_LEAST = {
    "num_train_envs": 0,
    "num_eval_envs": 1,
    "num_eval_episodes": 0,
    "num_train_frames": 0,
    "num_pretrain_steps": 0,
    "num_explore_steps": 0,
    "replay_size_before_train": 0,
    "batch_size": 1,
    "action_repeat": 1,
    "action_sequence": 1,
    "execution_length": 1,
    "frame_stack": 1,
    "update_every_steps": 1,
    "log_pretrain_every": 1,
}


def check(cfg: DictConfig) -> None:
    """Raise UserError for the first setting that cannot work."""
    for key, least in _AT_LEAST.items():
        if cfg[key] < least:
            raise UserError(f"{key}={cfg[key]} is not allowed; give at least {least}")
    if cfg.utd_ratio is not None and float(cfg.utd_ratio) < 0:
        raise UserError(f"utd_ratio={cfg.utd_ratio} is negative; give updates per transition")
    if not cfg.get("method"):
        raise UserError("no method is chosen; add for example method=drqv2")
    if not cfg.get("env"):
        raise UserError("no environment is chosen; add env=<name>")
    first_updates = cfg.replay_size_before_train * cfg.action_repeat * cfg.action_sequence
    if not cfg.is_imitation_learning and 0 < first_updates < cfg.env.episode_length:
        raise UserError(
            f"replay_size_before_train={cfg.replay_size_before_train} is less than one episode "
            f"({cfg.env.episode_length} env steps); raise it, or give 0 to learn at once"
        )
    for key in ("action_sequence", "execution_length"):
        if cfg.method.is_rl and cfg[key] != 1:
            raise UserError(f"{key}={cfg[key]}: reinforcement learning needs {key}=1")
    if not cfg.method.is_rl and cfg.replay.nstep != 1:
        raise UserError(f"replay.nstep={cfg.replay.nstep}: imitation needs replay.nstep=1")
    if cfg.demo_batch_size is not None and cfg.replay.prioritization:
        raise NotImplementedError("demo_batch_size and replay.prioritization exclude each other")
    if cfg.num_pretrain_steps % cfg.log_pretrain_every:
        raise UserError(
            f"log_pretrain_every={cfg.log_pretrain_every} does not divide "
            f"num_pretrain_steps={cfg.num_pretrain_steps}"
        )
