"""Every key that could name a file or a network is known as such, so that no snapshot opens one."""

import dataclasses
import typing
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from robobase import stored_config
from so101_robobase.evaluation.stored import OPENED
from so101_robobase.tasks.lift.config import LiftConfig

METHODS = ("drqv2", "sac", "ppo", "bc", "dagger")

WORDS = {  # hold words or numbers that are compared with what is known, and open nothing
    "experiment_name",
    "num_threads",
    "trial",  # a number
    "time_limit_minutes",
    "utd_ratio",
    "demo_batch_size",
    "visual_observation_shape",
    "snapshot_replay",
    "snapshot_keeper.keep_every",
    "replay.demo_size",
    "env.env_name",
    "env.observation",
    "env.joint_velocity",
    "env.renderer",
    "env.starts",
    "env.eval_stage",
    "env.reward_version",
    "env.on_success",
    "env.scene.servos",  # numbers
    "env.control",
    "env.corruption.confusion",
    "env.stddev_schedule",
    "env.channel_kinds",
    "env.randomization.visual",  # names of patterns, colours and shapes with their weights
    "method.gamma",
    "method.stddev_schedule",
    "method.teacher_share",
    "method.num_train_steps",
    "method.num_explore_steps",
    "method.weight_average",
    "method.actor_grad_clip",
    "method.critic_grad_clip",
    "method.target_entropy",
    "method.target_kl",
    "method.encoder_precision",
    "method.action_sequence_network_type",
    "method.actor_model",  # its own keys: words of the network's shape
    "method.critic_model",
    "method.encoder_model",
    "method.view_fusion_model",
}
PARTS = {  # chosen from `robobase.registry`
    "env_factory",
    "method",
    "intrinsic_reward_module",
    "logger",
    "snapshot_keeper",
    "snapshot_keeper.ranking",
}


def _words(node, path=""):
    """Keys whose value could be, or could become, a text."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _words(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for value in node:
            yield from _words(value, path)
    elif node is None or isinstance(node, str):
        yield path.removesuffix("._target_")


def _known(key):
    known = WORDS | PARTS | OPENED.keys() | set(stored_config.FORGOTTEN)
    return any(
        f"{key}.".startswith(f"{name}.") for name in known - {"method", "snapshot_keeper"}
    ) or (key in PARTS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reward", [[], ["intrinsic_reward_module=icm"]], ids=["plain", "icm"])
def test_a_new_key_that_could_name_a_file_is_noticed(method, reward):
    overrides = ["env=so101_lift", f"method={method}", *reward]
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        cfg = hydra.compose("robobase_config", overrides)
    new = {key for key in _words(OmegaConf.to_container(cfg)) if not _known(key)}
    assert not new, (
        f"say in OPENED, FORGOTTEN or in this test's WORDS what these are: {sorted(new)}"
    )


def _text_fields(cls, path):
    for field in dataclasses.fields(cls):
        kind = typing.get_type_hints(cls)[field.name]
        if dataclasses.is_dataclass(kind):
            yield from _text_fields(kind, f"{path}.{field.name}")
        elif kind in (str, Path) or {str, Path} & set(typing.get_args(kind)):
            yield f"{path}.{field.name}"


def test_a_new_text_of_the_task_is_noticed():
    new = {key for key in _text_fields(LiftConfig, "env") if not _known(key)}
    assert not new, f"say in OPENED or in this test's WORDS what these are: {sorted(new)}"


def test_what_may_be_opened_or_is_forgotten_exists():
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        cfg = hydra.compose("robobase_config", ["env=so101_lift"])
    OmegaConf.set_struct(cfg, True)
    for key, neutral in OPENED.items():
        assert OmegaConf.select(cfg, key) == neutral[0]
    for key in stored_config.FORGOTTEN:
        OmegaConf.update(cfg, key, None)  # raises for a key that is not there
