"""When an agent learns: the gradient steps that collected transitions pay for."""

import functools
from collections.abc import Iterator
from fractions import Fraction

import torch
from omegaconf import DictConfig

from robobase.experience import Experience
from robobase.method.core import Method, Metrics, OnPolicyMethod
from robobase.progress import Progress


class Learner:
    """Updates the agent from the run's experience."""

    def __init__(self, cfg: DictConfig, agent: Method, experience: Experience, progress: Progress):
        self._agent, self._experience, self._progress = agent, experience, progress
        self._num_envs: int = cfg.num_train_envs
        # The first n-step windows are complete when every environment has made nstep + 1 steps.
        first_windows = (cfg.replay.nstep + 1) * cfg.num_train_envs
        self._first: int = max(first_windows, cfg.replay_size_before_train)
        if cfg.utd_ratio is None:
            self._per_transition = Fraction(1, cfg.update_every_steps)
        else:
            self._per_transition = Fraction(str(cfg.utd_ratio))  # through str: 0.1 is a tenth

    @functools.cached_property
    def replay_iter(self) -> Iterator[dict[str, torch.Tensor]]:
        """Endless batches on the agent's device."""
        return self._experience.batches(self._agent.device)

    def learn(self) -> Metrics:
        """After every environment made one step: of the last update, if there was one."""
        agent, progress, rollout = self._agent, self._progress, self._experience.rollout
        if isinstance(agent, OnPolicyMethod) and rollout is not None:
            if rollout.is_full():
                self.update(progress.env_steps)
            return agent.last_metrics if agent.logging else {}
        if len(self._experience.replay_buffer) < self._first:
            return {}
        progress.update_credit += self._per_transition * self._num_envs
        metrics: Metrics = {}
        while progress.update_credit >= 1:
            metrics = self.update(progress.env_steps)
            progress.update_credit -= 1
        return metrics

    def update(self, step: int) -> Metrics:
        """One update of the agent."""
        self._agent.train(True)
        metrics = self._agent.update(self.replay_iter, step, self._experience.replay_buffer)
        self._agent.train(False)
        self._progress.updates += 1
        return metrics
