"""Settings that contradict each other, found before anything is built."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from robobase.errors import UserError
from robobase.run_state import ON_STOP

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
    "replay.size": 1,
    "replay.nstep": 1,
}
_AT_LEAST_OR_NULL = {
    "demo_batch_size": 1,
    "replay.demo_size": 1,
    "eval_every_steps": 0,
    "log_eval_video_every_n_evals": 0,
    "snapshot_every_n": 0,
    "log_every": 0,
}


def check(cfg: DictConfig) -> None:
    """Raise UserError for the first setting that cannot work; `1e6` becomes the integer it is."""
    for key, least in _AT_LEAST.items():
        _check_whole(cfg, key, least)
    for key, least in _AT_LEAST_OR_NULL.items():
        if OmegaConf.select(cfg, key) is not None:
            _check_whole(cfg, key, least)
    for key, unit in (("utd_ratio", "updates per transition"), ("time_limit_minutes", "minutes")):
        if cfg[key] is not None and not (_is_number(cfg[key]) and cfg[key] >= 0):
            raise UserError(f"{key}={cfg[key]} is not allowed; give {unit}, 0 or more, or null")
    if cfg.snapshot_replay not in (True, False, ON_STOP):
        raise UserError(
            f"snapshot_replay={cfg.snapshot_replay} is not allowed; give true, false or {ON_STOP}"
        )
    if not cfg.get("method"):
        again = "; with resume_from give all else as the first time" if cfg.resume_from else ""
        raise UserError(f"no method is chosen; add for example method=drqv2{again}")
    if not cfg.get("env"):
        raise UserError("no environment is chosen; add env=<name>")
    first_updates = cfg.replay_size_before_train * cfg.action_repeat * cfg.action_sequence
    if not cfg.is_imitation_learning and 0 < first_updates < cfg.env.episode_length:
        raise UserError(
            f"replay_size_before_train={cfg.replay_size_before_train} is less than one episode "
            f"({cfg.env.episode_length} env steps); raise it, or give 0 to learn at once"
        )
    if cfg.num_train_frames and cfg.replay.size < cfg.replay_size_before_train:
        raise UserError(
            f"replay.size={cfg.replay.size} never holds replay_size_before_train="
            f"{cfg.replay_size_before_train} transitions; raise the former or lower the latter"
        )
    for key in ("action_sequence", "execution_length"):
        if cfg.method.is_rl and cfg[key] != 1:
            raise UserError(f"{key}={cfg[key]}: reinforcement learning needs {key}=1")
    if not cfg.method.is_rl and cfg.replay.nstep != 1:
        raise UserError(f"replay.nstep={cfg.replay.nstep}: imitation needs replay.nstep=1")
    if "rollout_length" in cfg.method:
        _check_on_policy(cfg)
    if cfg.demo_batch_size is not None and cfg.demos == 0:
        raise UserError(f"demo_batch_size={cfg.demo_batch_size} needs demonstrations; set demos")
    if cfg.demo_batch_size is not None and cfg.replay.prioritization:
        raise NotImplementedError("demo_batch_size and replay.prioritization exclude each other")
    if cfg.num_pretrain_steps % cfg.log_pretrain_every:
        raise UserError(
            f"log_pretrain_every={cfg.log_pretrain_every} does not divide "
            f"num_pretrain_steps={cfg.num_pretrain_steps}"
        )


def _check_on_policy(cfg: DictConfig) -> None:
    """Raise UserError for data that a method cannot use which learns from its latest steps."""
    unused = {
        "demos": 0,
        "demo_batch_size": None,
        "num_pretrain_steps": 0,
        "utd_ratio": None,
        "replay.prioritization": False,
        "replay.sequential": False,
    }
    for key, neutral in unused.items():
        value = OmegaConf.select(cfg, key)
        if value != neutral:
            raise UserError(
                f"{key}={value}: {cfg.method._target_} learns from its own latest steps alone; "
                f"set {key}={'null' if neutral is None else neutral}, or choose method=drqv2 or sac"
            )


def _check_whole(cfg: DictConfig, key: str, least: int) -> None:
    value = OmegaConf.select(cfg, key)
    if not _is_number(value) or not float(value).is_integer() or value < least:
        raise UserError(f"{key}={value} is not allowed; give a whole number, at least {least}")
    OmegaConf.update(cfg, key, int(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
