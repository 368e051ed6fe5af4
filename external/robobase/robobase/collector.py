"""The training environments: the agent acts in them, and what comes of it is stored."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from omegaconf import DictConfig

from robobase import evaluation
from robobase.envs.vector_compat import final_obs_batch
from robobase.experience import Experience
from robobase.learner_state import check_alike
from robobase.method.core import Method, TaughtMethod
from robobase.progress import Progress
from robobase.resume_checks import expect, expect_observations
from robobase.rollout import EpisodeTracker
from robobase.snapshot import to_plain
from robobase.teaching import Teaching
from robobase.utils import independent_seeds


class Collector:
    """Steps N environments and fills the run's experience.

    Attributes:
        observations: (N, T, ...) that the agent acts on next; None before the first reset.
        episodes: what the running episodes and the last finished ones achieved.
        teaching: the teacher beside the environments, of methods that imitate one.
        stride: env steps of one iteration.
    """

    def __init__(
        self,
        cfg: DictConfig,
        envs: VectorEnv | None,
        agent: Method,
        experience: Experience,
        progress: Progress,
    ):
        self.observations: dict[str, np.ndarray] | None = None
        self.episodes = EpisodeTracker(cfg.num_train_envs)
        self.teaching = Teaching(agent) if isinstance(agent, TaughtMethod) else None
        self.stride: int = cfg.num_train_envs * cfg.action_repeat * cfg.action_sequence
        self._cfg, self._envs, self._agent = cfg, envs, agent
        self._experience, self._progress = experience, progress

    def start(self) -> None:
        """Reset the environments, unless a snapshot put them where its run was."""
        if self.observations is not None:
            return
        assert self._envs is not None
        num_envs, step = self._cfg.num_train_envs, self._progress.env_steps
        seeds = independent_seeds(num_envs, self._cfg.seed, step)
        self.observations, infos = self._envs.reset(seed=seeds)  # type: ignore[arg-type]
        if self.teaching is not None:
            self.teaching.listen(infos)
        self._agent.reset(step, list(range(num_envs)))

    def step(self) -> dict[str, Any]:
        """Step every environment once; returns their infos."""
        assert self._envs is not None
        assert self.observations is not None
        now, progress = self.observations, self._progress
        actions = evaluation.act(self._agent, now, progress.env_steps, eval_mode=False)
        remembered = actions
        if self.teaching is not None:
            actions, remembered = self.teaching.take_over(actions, progress.env_steps)
        following, reward, terminated, truncated, infos = self._envs.step(actions)
        if self.teaching is not None:
            self.teaching.listen(infos)
        done = terminated | truncated
        success = evaluation.task_success(infos, len(done))
        unstable = evaluation.unstable(infos, len(done))
        succeeded = self.episodes.add(reward, done, success, unstable)

        outcome, final = (reward, terminated, truncated), final_obs_batch(infos)
        if self._experience.rollout is not None:
            self._experience.rollout.add(now, actions, *outcome, final, following)
        else:
            newest = _newest(now), remembered[:, 0], *outcome, _newest(final)
            self._experience.add(*newest, succeeded=succeeded)
        self.observations = following
        progress.iterations += 1
        progress.env_steps += self.stride
        if done.any():
            self._agent.reset(progress.env_steps, np.flatnonzero(done).tolist())
        return infos

    def forget(self) -> None:
        """The episodes that were running are not continued: new ones start."""
        self.observations = None
        self.episodes.forget()
        self._experience.abandon_open_episodes()

    def state_dict(self) -> dict[str, torch.Tensor] | None:
        """The observations; environments, episodes and teaching are parts of their own."""
        return to_plain(self.observations)

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Raises ValueError for what are no observations of these environments."""
        expect_observations(state, self._agent.observation_space, self._cfg.num_train_envs)
        self.observations = {key: value.numpy() for key, value in state.items()}


class EnvState:
    """Where the environments are, of those that can tell."""

    def __init__(self, envs: Any):
        self._envs = envs

    def state_dict(self) -> Any:
        return to_plain(self._envs.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises an error of any kind for what does not fit."""
        expect(isinstance(state, dict), "env")
        try:
            here = self.state_dict()
        except Exception:  # environments that have no state before their first reset
            here = {}
        check_alike(state, here, "env")
        self._envs.load_state_dict(state)


def _newest(stacks: dict[str, np.ndarray] | None) -> Any:
    """Observations (N, T, ...) without all but their last frame; None stays None."""
    return None if stacks is None else {key: frames[:, -1] for key, frames in stacks.items()}
