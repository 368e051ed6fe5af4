"""From a snapshot to something that acts: config, environment factory, agent with its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from robobase import run_state
from robobase import snapshot as snapshots
from robobase.build import create_default_envs, make_agent
from robobase.compute import usable_device
from robobase.envs.env import EnvFactory
from robobase.errors import UserError
from robobase.evaluation import act
from robobase.method.core import Method
from robobase.reading import reason
from robobase.run_snapshot import locate
from so101_robobase.evaluation import stored
from so101_robobase.sim.gl_context import GLUnavailableError
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.entry import TaskFactory, config_of

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

    def estimate_return(
        self, observation: Mapping[str, np.ndarray], action: np.ndarray
    ) -> np.ndarray | None:
        """What the critic expects from `action` (N, S, A) on, (N,), in units of scaled rewards.

        None where the method has no critic of actions, as imitation has none.
        """
        agent = self.agent
        if not hasattr(agent, "estimate_return"):
            return None
        rows = {
            key: torch.from_numpy(np.asarray(value)).to(agent.device)
            for key, value in observation.items()
        }
        action_rows = torch.from_numpy(np.asarray(action)).to(agent.device)
        return agent.estimate_return(rows, action_rows).cpu().numpy()  # type: ignore[operator]

    def task(self) -> TaskConfig:
        """The task of `make_env`. Raises UserError for the policy of another environment."""
        if not isinstance(self.factory, TaskFactory):
            kind = type(self.factory)
            raise UserError(
                "this works on tasks of so101_robobase alone, and the snapshot's environments are "
                f"those of {kind.__module__}.{kind.__qualname__}; to evaluate it type its "
                "training command again with num_train_envs=0 resume_from=<snapshot>, or derive "
                "the factory from so101_robobase.envs.factory.SO101Factory"
            )
        return config_of(self.cfg, evaluation=True)

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
    cfg = stored.config_of(snapshot, payload, overrides or {}, trusted)
    try:
        factory, observation_space, action_space = _environment(cfg)
        run_state.check_spaces(
            payload["spaces"], run_state.describe_spaces(observation_space, action_space), snapshot
        )
        given = cfg, observation_space, action_space
        with torch.device("meta"):  # shapes alone: networks that do not fit take no memory
            agent = make_agent(*given, torch.device("meta"))
        run_state.check_weights(agent, payload["agent"], snapshot)
        agent = make_agent(*given, usable_device(device))
    except (UserError, GLUnavailableError):
        raise
    except Exception as error:  # of any kind, by what the file's config says
        if trusted and not isinstance(error, InstantiationException):
            raise  # the user's own code
        raise UserError(f"the agent of {snapshot} cannot be built: {reason(error)}") from error
    run_state.load_agent(agent, payload["agent"], payload["training"], snapshot)
    return Policy(agent, cfg, factory)


def _environment(cfg: DictConfig) -> tuple[EnvFactory, spaces.Dict, spaces.Box]:
    """The factory that `cfg` describes, and the spaces of its environments."""
    factory = create_default_envs(cfg)
    env = factory.make_eval_env(cfg)
    observation_space, action_space = env.observation_space, env.action_space
    env.close()
    assert isinstance(observation_space, spaces.Dict)
    assert isinstance(action_space, spaces.Box)
    return factory, observation_space, action_space
