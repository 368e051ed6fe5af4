"""Rewards for novelty."""

from robobase.intrinsic_reward_module.icm import ICM
from robobase.intrinsic_reward_module.rnd import RND

__all__ = ["ICM", "RND"]
