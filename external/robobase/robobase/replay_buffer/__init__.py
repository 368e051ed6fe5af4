"""Replay buffers in memory: uniform and prioritised sampling over transitions."""

from robobase.replay_buffer.prioritized_replay_buffer import PrioritizedReplayBuffer
from robobase.replay_buffer.replay_buffer import ReplayBuffer, ReplayElement
from robobase.replay_buffer.sum_tree import SumTree
from robobase.replay_buffer.uniform_replay_buffer import UniformReplayBuffer

__all__ = [
    "PrioritizedReplayBuffer",
    "ReplayBuffer",
    "ReplayElement",
    "SumTree",
    "UniformReplayBuffer",
]
