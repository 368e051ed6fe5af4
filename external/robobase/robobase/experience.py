"""What a run has seen and learns from: replay buffers, or the rollout of an on-policy method."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from robobase import utils
from robobase.envs.env import EnvFactory
from robobase.method.core import Method, OnPolicyMethod
from robobase.replay_buffer.rollout_buffer import RolloutBuffer
from robobase.replay_buffer.uniform_replay_buffer import UniformReplayBuffer
from robobase.self_imitation import Rows, SelfImitation

CreateReplay = Callable[..., UniformReplayBuffer]
"""`(cfg, observation_space, action_space, demo_replay=False) -> buffer`."""


class Experience:
    """The buffers of a run.

    Attributes:
        replay_buffer: of the run's own transitions; empty for an on-policy method.
        demo_replay_buffer: of demonstrations, where `demo_batch_size` asks for it.
        rollout: of an on-policy method.
        self_imitation: where successful episodes become demonstrations.
    """

    def __init__(self, cfg: DictConfig, agent: Method, create: CreateReplay):
        self._cfg = cfg
        described = agent.observation_space, agent.action_space
        self.rollout: RolloutBuffer | None = None
        if isinstance(agent, OnPolicyMethod):
            self.rollout = RolloutBuffer(*described, agent.rollout_length, cfg.num_train_envs)
        self.replay_buffer = create(cfg, *described)
        self.demo_replay_buffer: UniformReplayBuffer | None = None
        if cfg.demo_batch_size is not None:
            self.demo_replay_buffer = create(cfg, *described, demo_replay=True)
        self._stores_demo_flag = "demo" in self.replay_buffer.get_storage_signature()[0]
        self.self_imitation: SelfImitation | None = None
        if self.demo_replay_buffer is not None and cfg.use_self_imitation:
            self.self_imitation = SelfImitation(self.buffers, cfg.num_train_envs)

    @property
    def buffers(self) -> list[UniformReplayBuffer]:
        """That of the run's own transitions, and that of demonstrations if there is one."""
        return [b for b in (self.replay_buffer, self.demo_replay_buffer) if b is not None]

    def load_demos(self, factory: EnvFactory) -> None:
        """Fill what is empty with demonstrations; a resumed run finds them in the buffers."""
        for buffer in self.buffers if self._cfg.demos != 0 else ():
            only_demos = self._cfg.is_imitation_learning or buffer is self.demo_replay_buffer
            if buffer.is_empty():
                factory.load_demos_into_replay(self._cfg, buffer, is_demo_buffer=only_demos)

    def add(self, observation: Rows, action: np.ndarray, reward: np.ndarray, terminated: np.ndarray,
            truncated: np.ndarray, final_observation: Rows | None,
            succeeded: np.ndarray) -> None:  # fmt: skip
        """One vector step for replay: single frames and actions (N, ...), see `SelfImitation`."""
        step = observation, action, reward, terminated, truncated, final_observation
        flags: dict[str, Any] = {"demo": np.zeros(len(reward), np.uint8)}
        self.replay_buffer.add_batch(*step, **(flags if self._stores_demo_flag else {}))
        if self.self_imitation is not None:
            self.self_imitation.add(*step, succeeded=succeeded)

    def batches(self, device: torch.device) -> Iterator[dict[str, torch.Tensor]]:
        """Endless batches on the device, merged with demonstrations where there is a buffer."""
        if self.rollout is not None:
            return self.rollout.batches(device)
        batches = self.replay_buffer.batches(device)
        if self.demo_replay_buffer is None:
            return batches
        return utils.merge_replay_demo_iter(batches, self.demo_replay_buffer.batches(device))

    def loader(self, pin_memory: bool) -> DataLoader:
        """The replay buffer as a DataLoader, for code that was written for one."""
        return DataLoader(
            self.replay_buffer,
            batch_size=self._cfg.batch_size,
            num_workers=self._cfg.replay.num_workers,
            pin_memory=pin_memory,
            worker_init_fn=seed_worker,
        )

    def abandon_open_episodes(self) -> None:
        """The environments start anew: what they were in the middle of has no end."""
        for buffer in self.buffers:
            buffer.abandon_open_episodes()

    def shutdown(self) -> None:
        """Let go of what the buffers hold. Can be called twice."""
        for buffer in self.buffers:
            buffer.shutdown()

    def state_dict(self) -> list[dict[str, Any]]:
        """Of the replay buffers; a rollout and self imitation are parts of their own."""
        return [buffer.state_dict() for buffer in self.buffers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Raises an error of any kind for what does not fit."""
        for buffer, state in zip(self.buffers, states, strict=False):
            buffer.load_state_dict(state)


def seed_worker(worker_id: int) -> None:
    """Give numpy and `random` in a DataLoader worker the seed that torch gave it."""
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)  # noqa: NPY002 - what user code in a worker may draw from
    random.seed(seed)
