"""From a snapshot to something that acts: config, environment factory, agent with its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robobase import registry, run_state, stored_config
from robobase import snapshot as snapshots
from robobase.build import create_default_envs, make_agent
from robobase.compute import usable_device
from robobase.envs.env import EnvFactory
from robobase.errors import UserError
from robobase.evaluation import act
from robobase.method.core import Method
from robobase.run_snapshot import locate
from so101_robobase.config import LiftConfig
from so101_robobase.factory import SO101Factory
from so101_robobase.sim.sight import SCENE, SIMULATED

OPENED: dict[str, tuple[Any, ...]] = {
    "env.sight.segmentation": (None,),
    "env.sight.depth": (SCENE, SIMULATED),
    "env.scene.robot_xml": (None,),
    "env.scene.alignment": (None,),
    "env.corruption.report": (None,),
}
"""Keys that name a file or a network to open, with their values that name none. What a snapshot
names there is opened only where the caller names it too."""

_NEWER_GROUPS = ("randomization", "corruption", "sight")  # than the first snapshots

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

    def task(self) -> LiftConfig:
        """The lift task of `make_env`. Raises UserError for the policy of another environment."""
        if not isinstance(self.factory, SO101Factory):
            kind = type(self.factory)
            raise UserError(
                f"this works on the lift task alone, and the snapshot's environments are those of "
                f"{kind.__module__}.{kind.__qualname__}; to evaluate it type its training command "
                "again with num_train_envs=0 resume_from=<snapshot>, or derive the factory from "
                "so101_robobase.factory.SO101Factory"
            )
        return LiftConfig.from_cfg(self.cfg, evaluation=True)

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

    The file is read as plain data, never as code: the config in it may name the classes that stand
    in `robobase.registry` and no files to open (docs/security.md).

    Args:
        overrides: config keys with dots -> values, such as `{"env.stage": 0}`.
        trusted: further packages whose classes the config may name.

    Raises:
        UserError: missing or damaged snapshot, unknown override, unavailable device, a config that
            is not plain data or names what it may not, or weights that do not fit the
            environment's observations.
    """
    snapshot = locate(snapshot)
    payload = snapshots.read(snapshot)
    cfg = _config(snapshot, payload, overrides or {}, trusted)
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


def _config(
    snapshot: Path,
    payload: Mapping[str, Any],
    overrides: Mapping[str, Any],
    trusted: Sequence[str],
) -> DictConfig:
    """The stored config with the caller's overrides: resolved, checked, ready to be built from."""
    run_state.require(payload, ("cfg", "spaces", "agent", "training"), snapshot)
    tree = stored_config.parse(payload["cfg"], f"snapshot {snapshot}")
    missing = [
        key for key in ("env_factory", "method", "env") if not isinstance(tree.get(key), dict)
    ]
    if missing:
        raise UserError(
            f"the config of snapshot {snapshot} has no {' or '.join(missing)}; "
            "give a snapshot of `python -m robobase.train env=so101_lift`"
        )
    stored_config.forget_outputs(tree)
    _add_newer_keys(tree, snapshot)
    cfg = OmegaConf.create(tree)
    _check_opened(cfg, overrides, snapshot)
    cfg = _override(cfg, overrides)
    # What is checked is what will be built from: no interpolation is left that could change it.
    checked = stored_config.parse(stored_config.to_text(cfg), f"snapshot {snapshot}")
    registry.check(checked, f"snapshot {snapshot}", trusted)
    return OmegaConf.create(checked)


def _check_opened(cfg: DictConfig, overrides: Mapping[str, Any], snapshot: Path) -> None:
    """Raise UserError for a file or a network that the snapshot alone wants opened."""
    for key, neutral in OPENED.items():
        value = OmegaConf.select(cfg, key)
        given = any(f"{key}.".startswith(f"{name}.") for name in overrides)
        if value is not None and value not in neutral and not given:
            raise UserError(
                f"snapshot {snapshot} wants {key}={value!r} opened; what a snapshot names is "
                f"opened only if you name it: --overrides {key}=YOURS, or {key}="
                f"{'null' if neutral[0] is None else neutral[0]} to do without"
            )


def _add_newer_keys(tree: dict[str, Any], snapshot: Path) -> None:
    """What the first snapshots do not have, off, so that it can be overridden."""
    default = LiftConfig()
    newer: dict[str, Any] = {
        "eval_stage": None,
        "joint_velocity": default.joint_velocity,
        "scene.alignment": None,
        "control.floor": None,
    }
    newer |= {name: asdict(getattr(default, name)) for name in _NEWER_GROUPS}
    for key, value in newer.items():
        *groups, last = key.split(".")
        node: Any = tree["env"]
        for group in groups:
            node = node.setdefault(group, {})
            if not isinstance(node, dict):
                raise UserError(
                    f"snapshot {snapshot}: env.{group}={node!r} must be a group of keys"
                )
        node.setdefault(last, value)


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
