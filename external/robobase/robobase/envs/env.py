"""What an environment plugin implements (`EnvFactory`) and how demonstrations are replayed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym
from omegaconf import DictConfig

from robobase.errors import UserError


class Demo(list):
    """One episode: `[(obs_0, info_0), (obs_1, reward_1, terminated, truncated, info_1), ...]`.

    The action that led from t to t+1 is `info_{t+1}["demo_action"]`; every info carries
    `"demo"` (0 or 1). The length is the number of actions plus one.
    """

    def __init__(self, transition_tuples: Iterable[tuple]):
        super().__init__(transition_tuples)


class EnvFactory:
    """Makes the environments and demonstrations of one task from a run's config."""

    def complete_config(self, cfg: DictConfig) -> None:
        """Put into `cfg` what else the task depends on, such as figures from files; called first.

        What a run saves is the completed config, so that its snapshots need nothing else.
        """

    def make_train_env(self, cfg: DictConfig) -> gym.vector.VectorEnv:
        """`cfg.num_train_envs` wrapped environments, with same-step autoreset."""
        raise NotImplementedError

    def make_eval_env(self, cfg: DictConfig) -> gym.Env:
        """One wrapped environment; its spaces define those of the agent."""
        raise NotImplementedError

    def make_eval_vector_env(self, cfg: DictConfig, num_envs: int) -> gym.vector.VectorEnv | None:
        """`num_envs` evaluation environments, or None: then `make_eval_env` is used alone."""
        return None

    def evaluation_command(self, snapshot: Path) -> list[str] | None:
        """What to type to measure the policy of `snapshot`, as words; None: there is nothing."""
        return None

    def collect_or_fetch_demos(self, cfg: DictConfig, num_demos: int) -> None:
        """Obtain `num_demos` demonstrations (-1: all); called before any environment exists."""
        raise NotImplementedError(f"{type(self).__name__} has no demonstrations: set demos=0")

    def post_collect_or_fetch_demos(self, cfg: DictConfig) -> None:
        """Called after the environments exist, for instance to rescale the demos' actions."""
        raise NotImplementedError(f"{type(self).__name__} has no demonstrations: set demos=0")

    def load_demos_into_replay(self, cfg: DictConfig, buffer, is_demo_buffer: bool = False) -> None:
        """Add the demonstrations to `buffer`; `is_demo_buffer` for one that holds nothing else."""
        raise NotImplementedError(f"{type(self).__name__} has no demonstrations: set demos=0")


class DemoEnv(gym.Env):
    """Replays demonstrations, each once and in order; actions are ignored."""

    is_demo_env = True

    def __init__(
        self,
        demos: Iterable[Demo],
        action_space: gym.spaces.Box,
        observation_space: gym.spaces.Dict,
    ):
        self._demos = list(demos)
        self._steps: list[tuple] = []
        self.action_space = action_space
        self.observation_space = observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """First observation and info of the next demo; `UserError` when none is left."""
        super().reset(seed=seed)
        if not self._demos:
            raise UserError("every demonstration has been replayed: make a new DemoEnv")
        first, *self._steps = self._demos.pop(0)
        observation, info = first
        return observation, dict(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """The next recorded step; `UserError` past the end of the demo."""
        if not self._steps:
            raise UserError("the demonstration is over: call reset() for the next one")
        *outcome, info = self._steps.pop(0)
        observation, reward, terminated, truncated = outcome
        return observation, reward, terminated, truncated, dict(info)  # the reader may take from it

    def render(self) -> None:
        """A demonstration has no simulation to render."""
        raise NotImplementedError("DemoEnv cannot render")

    def modify_actions(self) -> None:
        """Hook for subclasses that rewrite the recorded actions; nothing to do here."""
