"""Settings that contradict each other, found before anything is built."""

import os

from omegaconf import DictConfig, OmegaConf

from robobase.errors import UserError
from robobase.settings.check import check_values
from robobase.settings.footprint import check_memory
from robobase.settings.kinds import checked
from robobase.settings.run_settings import RUN
from robobase.settings.task import task_settings
from robobase.settings.tree import at, raw

_FEW_THREADS = 16  # as many may be asked for on any machine; above, four for each core


def check(cfg: DictConfig) -> None:
    """Raise UserError for the first setting that cannot work; `1e6` becomes the integer it is."""
    checked(RUN["env_settings"].kind, "env_settings", raw(cfg).get("env_settings"))
    task = task_settings(cfg)
    check_values(cfg, task.settings() if task else None)
    method = at(raw(cfg), "method")
    if not at(method, "_target_") or "is_rl" not in method:
        again = "; with resume_from give all else as the first time" if cfg.resume_from else ""
        raise UserError(f"no method is chosen; add for example method=drqv2{again}")
    if not cfg.get("env"):
        raise UserError("no environment is chosen; add env=<name>")
    _check_machine(cfg)
    if task is not None:
        task.check(cfg)
    check_memory(cfg, task.memory(cfg) if task is not None else None)
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
    if cfg.execution_length > cfg.action_sequence:
        raise UserError(
            f"execution_length={cfg.execution_length} exceeds action_sequence="
            f"{cfg.action_sequence}; only what was planned can be done"
        )
    stride = cfg.action_repeat * cfg.action_sequence
    if stride > cfg.env.episode_length:
        raise UserError(
            f"action_repeat={cfg.action_repeat} times action_sequence={cfg.action_sequence} is "
            f"more than env.episode_length={cfg.env.episode_length}; lower one of them"
        )
    if cfg.pixels and cfg.method.get("encoder_model", True) is None:
        raise UserError(
            "method.encoder_model=null cannot see pictures; configure one, or pixels=false"
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
        raise UserError(
            f"demo_batch_size={cfg.demo_batch_size} and replay.prioritization=true exclude each "
            "other; set one to null or false"
        )
    if cfg.num_pretrain_steps and cfg.demos == 0 and not cfg.resume_from:
        raise UserError(
            f"num_pretrain_steps={cfg.num_pretrain_steps} needs data; set demos, as demos=100, or "
            "num_pretrain_steps=0"
        )
    if cfg.num_pretrain_steps % cfg.log_pretrain_every:
        raise UserError(
            f"log_pretrain_every={cfg.log_pretrain_every} does not divide "
            f"num_pretrain_steps={cfg.num_pretrain_steps}"
        )


def _check_machine(cfg: DictConfig) -> None:
    most = max(_FEW_THREADS, 4 * (os.cpu_count() or 1))
    if (cfg.num_threads or 0) > most:
        raise UserError(
            f"num_threads={cfg.num_threads}: more threads than cores slow a run down; give at most "
            f"{most}, or null for the cores that there are"
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
