"""From a snapshot to something that acts: config, environment factory, agent with its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robobase import run_state
from robobase import snapshot as snapshots
from robobase.build import create_default_envs, make_agent
from robobase.compute import usable_device
from robobase.envs.env import EnvFactory
from robobase.errors import UserError
from robobase.evaluation import act
from robobase.method.core import Method
from robobase.run_snapshot import locate
from so101_robobase.config import LiftConfig

OUR_PACKAGES = ("robobase", "so101_robobase")
TRAINED = 2**62  # env steps: beyond exploration and every schedule


@dataclass(frozen=True)
class Policy:
    """A trained agent and what it needs to act: `policy.act(observation) -> action`.

    Attributes:
        agent: the networks, with the snapshot's weights.
        cfg: the run's config with the caller's overrides.
        factory: makes environments as in training.
    """

    agent: Method
    cfg: DictConfig
    factory: EnvFactory

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """The mean action: (S, A) for one observation (T, ...), (N, S, A) for N of them."""
        space = self.agent.observation_space
        assert isinstance(space, spaces.Dict)
        key = next(iter(space.spaces))
        batched = observation[key].ndim > len(space[key].shape or ())
        return act(self.agent, dict(observation), TRAINED, eval_mode=True, batched=batched)

    def make_env(self, num_envs: int = 1) -> VectorEnv:
        """`num_envs` evaluation environments as one vector environment; close it after use."""
        env = self.factory.make_eval_vector_env(self.cfg, num_envs)
        if env is None:
            raise UserError(
                f"{type(self.factory).__name__} has no vector environment for evaluation; "
                "give a snapshot of env=so101_lift"
            )
        return env


def load_policy(
    snapshot: Path | str,
    device: torch.device | str = "cpu",
    overrides: Mapping[str, Any] | None = None,
    trusted: Sequence[str] = (),
) -> Policy:
    """Builds the agent of `snapshot`, a `*_snapshot.pt` of `robobase.train` or its run folder.

    The file is read as plain data, never as code, and the config in it may name classes of this
    project alone.

    Args:
        overrides: config keys with dots -> values, such as `{"env.stage": 0}`.
        trusted: further packages whose classes the config may name.

    Raises:
        UserError: missing or damaged snapshot, unknown override, unavailable device, code outside
            the allowed packages, or weights that do not fit the environment's observations.
    """
    snapshot = locate(snapshot)
    payload = snapshots.read(snapshot)
    cfg = _override(_config(snapshot, payload), overrides or {})
    _check_targets(OmegaConf.to_container(cfg), (*OUR_PACKAGES, *trusted), snapshot)
    try:
        factory = create_default_envs(cfg)
        env = factory.make_eval_env(cfg)
        observation_space, action_space = env.observation_space, env.action_space
        env.close()
        assert isinstance(observation_space, spaces.Dict)
        assert isinstance(action_space, spaces.Box)
        run_state.check_spaces(
            payload["spaces"], run_state.describe_spaces(observation_space, action_space), snapshot
        )
        agent = make_agent(cfg, observation_space, action_space, usable_device(device))
    except InstantiationException as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the agent of {snapshot} cannot be built: {reason}") from error
    run_state.load_agent(agent, payload["agent"], payload["training"], snapshot)
    return Policy(agent, cfg, factory)


def _config(snapshot: Path, payload: Mapping[str, Any]) -> DictConfig:
    run_state.require(payload, ("cfg", "spaces", "agent", "training"), snapshot)
    cfg = OmegaConf.create(payload["cfg"])
    missing = [key for key in ("env_factory", "method", "env") if cfg.get(key) is None]
    if missing:
        raise UserError(
            f"the config of snapshot {snapshot} has no {' or '.join(missing)}; "
            "give a snapshot of `python -m robobase.train env=so101_lift`"
        )
    _add_newer_keys(cfg)
    return cfg


def _add_newer_keys(cfg: DictConfig) -> None:
    """What the first snapshots do not have, off, so that it can be overridden."""
    cfg.env.setdefault("eval_stage", None)
    cfg.env.setdefault("joint_velocity", "exact")
    default = LiftConfig()
    cfg.env.setdefault("scene", OmegaConf.create())
    cfg.env.scene.setdefault("alignment", None)
    cfg.env.setdefault("control", OmegaConf.create())
    cfg.env.control.setdefault("floor", None)
    for name in ("randomization", "corruption", "sight"):
        cfg.env.setdefault(name, OmegaConf.create(asdict(getattr(default, name))))


def _override(cfg: DictConfig, overrides: Mapping[str, Any]) -> DictConfig:
    OmegaConf.set_struct(cfg, True)
    for key, value in overrides.items():
        try:
            present = OmegaConf.select(cfg, key, throw_on_missing=False)
            if not _is_alike(present, value):
                raise UserError(f"override {key}={value}: in the snapshot's config it is {present}")
            OmegaConf.update(cfg, key, value, merge=False)
        except OmegaConfBaseException as error:
            raise UserError(
                f"override {key}={value}: the snapshot's config has no such key; "
                "see config.yaml in the run's folder"
            ) from error
    OmegaConf.set_struct(cfg, False)
    return cfg


def _is_alike(present: Any, value: Any) -> bool:
    """Whether `value` may stand where `present` does: no text for a number, no leaf for a group."""
    if isinstance(present, DictConfig):
        return isinstance(value, dict)
    if isinstance(present, ListConfig):
        return isinstance(value, list | int | float)  # a spread may be a number
    return not (isinstance(present, int | float) and isinstance(value, str))


def _check_targets(node: Any, packages: Sequence[str], snapshot: Path) -> None:
    """Refuse a config that names code outside `packages`: a snapshot may come from anywhere."""
    if isinstance(node, list):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        return
    target = node.get("_target_")
    if target is not None and not _is_from(str(target), packages):
        raise UserError(
            f"{snapshot} wants to run {target}, which is not in {', '.join(packages)}; "
            "if you trust its author, name the package with --trust"
        )
    for value in node.values():
        _check_targets(value, packages, snapshot)


def _is_from(target: str, packages: Sequence[str]) -> bool:
    """Whether `target` is defined in one of `packages`, not merely imported there (`ours.os`)."""
    if target.split(".")[0] not in packages:
        return False
    try:
        module = getattr(hydra.utils.get_object(target), "__module__", "")
    except Exception:  # whatever an import may raise
        return False
    return module.split(".")[0] in packages
