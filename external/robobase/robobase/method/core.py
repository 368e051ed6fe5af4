"""The interface of every learning method, and what a run needs to save to continue one exactly."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from gymnasium import spaces
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from robobase.errors import UserError
from robobase.learner_state import load_learner

BatchedActionSequence = torch.Tensor
"""Actions `(B, S, A)`."""
Metrics = dict[str, Any]
Batch = dict[str, torch.Tensor]
ModelFactory = Callable[..., Any]
"""A partial model, completed with the shapes that only the method knows."""


class Method(nn.Module, ABC):
    """An agent: acts on batched observations and learns from batches of transitions.

    Args:
        observation_space: Dict of `(T, ...)` boxes; keys matching `rgb.*` are images.
        action_space: Box in [-1, 1] of shape `(S, A)`.
        device: where the networks live.
        num_train_envs: environments that `act` serves at once in training.
        replay_alpha, replay_beta: exponents of priorities and of importance weights.
        frame_stack_on_channel: True stacks the T frames as channels, False reads them in turn
            with a recurrent net.
        intrinsic_reward_module: gives a reward for novelty; its learning is the method's task.
        is_rl: whether the method learns from rewards.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        device: torch.device | str,
        num_train_envs: int,
        replay_alpha: float,
        replay_beta: float,
        frame_stack_on_channel: bool,
        intrinsic_reward_module: Any = None,
        is_rl: bool = False,
    ):
        super().__init__()
        self.observation_space = observation_space
        self.action_space = action_space
        self.device = torch.device(device)
        self.num_train_envs = num_train_envs
        self.num_eval_envs = 1
        self.replay_alpha = replay_alpha
        self.replay_beta = replay_beta
        self.frame_stack_on_channel = frame_stack_on_channel
        self.intrinsic_reward_module = intrinsic_reward_module
        self.is_rl = is_rl
        self.logging = False
        self._eval_env_running = False

    @property
    def random_explore_action(self) -> BatchedActionSequence:
        """Uniform actions `(num_train_envs, S, A)` in [-1, 1]."""
        shape = (self.num_train_envs, *self.action_space.shape)
        return torch.empty(shape, device=self.device).uniform_(-1.0, 1.0)

    @abstractmethod
    def act(
        self, observations: dict[str, torch.Tensor], step: int, eval_mode: bool
    ) -> BatchedActionSequence | tuple[BatchedActionSequence, dict[str, Any]]:
        """Actions `(B, S, A)` for observations `(B, T, ...)`, perhaps with extra information.

        `step` counts environment steps, here and below.
        """

    @abstractmethod
    def update(
        self,
        replay_iter: Iterator[dict[str, torch.Tensor]],
        step: int,
        replay_buffer: Any = None,
    ) -> Metrics:
        """Take one batch and one gradient step; the metrics are empty unless `self.logging`."""

    @abstractmethod
    def reset(self, step: int, agents_to_reset: list[int]) -> None:
        """Episodes of these environments ended; evaluation environment k is num_train_envs + k."""

    @property
    def eval_env_running(self) -> bool:
        """Whether `act` serves evaluation environments at the moment."""
        return self._eval_env_running

    def set_eval_env_running(self, value: bool) -> None:
        """Tell which environments the following calls of `act` serve."""
        self._eval_env_running = value

    def training_state(self) -> dict[str, Any]:
        """What learning needs beside `state_dict()`: optimisers, schedulers, recurrent states.

        Plain containers and tensors, so that it can be saved and loaded with `weights_only=True`.
        """
        learners = {name: learner.state_dict() for name, learner in self._learners().items()}
        return {"learners": learners, "buffers": dict(self._transient_buffers())}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Restore `training_state()`; rates and other settings of optimisers stay this config's.

        Recurrent states of another number of environments are left out: they belong to episodes
        that a run with other environments does not continue.
        """
        for name, learner in self._learners().items():
            load_learner(learner, state["learners"][name])
        for name, buffer in self._transient_buffers().items():
            saved = state["buffers"].get(name)
            if saved is not None and saved.shape == buffer.shape:
                buffer.copy_(saved)

    def _learners(self) -> dict[str, Optimizer | LRScheduler]:
        return {
            f"{path}.{name}" if path else name: value
            for path, module in self.named_modules()
            for name, value in vars(module).items()
            if isinstance(value, Optimizer | LRScheduler)
        }

    def _transient_buffers(self) -> dict[str, torch.Tensor]:
        saved = self.state_dict().keys()
        return {name: buffer for name, buffer in self.named_buffers() if name not in saved}


class ImitationLearningMethod(Method, ABC):
    """Learns from demonstrations alone."""


class TaughtMethod(ImitationLearningMethod):
    """Learns while it acts from a teacher that answers every observation.

    A run stores the teacher's actions in its replay buffer, not those that were taken.
    """

    @abstractmethod
    def teacher_share(self, step: int) -> float:
        """In which share of the training environments the teacher acts, after `step` env steps."""


class OffPolicyMethod(Method, ABC):
    """Learns from transitions of any policy."""


class OnPolicyMethod(Method, ABC):
    """Learns from transitions of the current policy.

    A run collects `rollout_length` steps of every environment, gives them to one `update` as
    `RolloutBuffer.batches` describes, and forgets them.

    Args (those of `Method` come in addition):
        rollout_length: steps of each environment in a rollout.
    """

    def __init__(self, *args: Any, rollout_length: int, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if rollout_length < 1:
            raise UserError(f"method.rollout_length={rollout_length}: give at least 1 step")
        self.rollout_length = rollout_length
        self.last_metrics: Metrics = {}
        """Of the latest `update`: what is logged until the next, which may be long after."""

    def training_state(self) -> dict[str, Any]:
        return super().training_state() | {"last_metrics": self.last_metrics}

    def load_training_state(self, state: dict[str, Any]) -> None:
        super().load_training_state(state)
        self.last_metrics = state["last_metrics"]


class ModelBasedMethod(Method, ABC):
    """Learns a model of the environment."""
