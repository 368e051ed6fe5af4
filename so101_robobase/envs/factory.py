"""From a run's config to wrapped environments and demonstrations: the engine's `EnvFactory`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym
from omegaconf import DictConfig, OmegaConf

from robobase.envs.env import Demo, DemoEnv
from robobase.envs.wrappers import (
    ActionSequence,
    AppendDemoInfo,
    FrameStack,
    OnehotTime,
    RecedingHorizonControl,
)
from robobase.errors import UserError
from robobase.replay_buffer.replay_buffer import ReplayBuffer
from robobase.utils import add_demo_to_replay_buffer
from so101_robobase.arm.model import describe
from so101_robobase.envs import demos
from so101_robobase.envs.observer import observation_space
from so101_robobase.envs.single_env import TaskEnv
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.envs.wrappers import Observed, SuccessInfo
from so101_robobase.sim.scene import aligned
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.entry import TaskFactory, config_of

_NOT_NEEDED = ("use_standardization", "use_min_max_normalization", "norm_obs")


class SO101Factory(TaskFactory):
    """Environments of `env=so101_lift` and the other tasks.

    An agent sees `rgb` (T, C, H, W) uint8 and `low_dim_state` (T, 18) float32 (state runs only
    `low_dim_state` (T, 21)) and acts with (S, A) float32 in [-1, 1]; T is `cfg.frame_stack`, S
    `cfg.action_sequence`. Training, demonstrations and evaluation begin in states of their own, and
    those of training and demonstrations depend on `cfg.seed`.
    """

    def __init__(self) -> None:
        self._demos: list[Demo] = []

    def complete_config(self, cfg: DictConfig) -> None:
        """What `env.corruption.report` and `env.scene.alignment` hold, in place of their names.

        Raises UserError if one of the files cannot be used.
        """
        config = _config(cfg)
        if config.corruption.report is not None:
            _fill_in(cfg, "env.corruption", config.corruption, config.corruption.measured())
        if config.scene.alignment is not None:
            _fill_in(cfg, "env.scene", config.scene, aligned(config.scene))

    def make_train_env(self, cfg: DictConfig) -> gym.vector.VectorEnv:
        """`cfg.num_train_envs` episodes in one native vector environment."""
        return self._vector_env(cfg, _config(cfg), cfg.num_train_envs)

    def make_eval_env(self, cfg: DictConfig) -> gym.Env:
        """One environment, wrapped in RoboBase's chain of single-environment wrappers.

        Actions of `TaskEnv` already lie in [-1, 1], so nothing rescales them; the time limit is the
        task's own.
        """
        config = _config(cfg, evaluation=True)
        env: gym.Env = SuccessInfo(TaskEnv(config, render_mode="rgb_array"))
        env = Observed(env, config.observation, config.image_size, config.renderer)
        if cfg.use_onehot_time_and_no_bootstrap:
            env = OnehotTime(env, config.episode_length)
        if cfg.execution_length < cfg.action_sequence:
            env = RecedingHorizonControl(
                env,
                cfg.action_sequence,
                config.episode_length,
                cfg.execution_length,
                cfg.temporal_ensemble,
                cfg.temporal_ensemble_gain,
            )
        else:
            env = ActionSequence(env, cfg.action_sequence)
        return AppendDemoInfo(FrameStack(env, cfg.frame_stack))

    def make_eval_vector_env(self, cfg: DictConfig, num_envs: int) -> gym.vector.VectorEnv | None:
        """`num_envs` episodes at once; None where actions are averaged over overlapping sequences,
        which only the single environment does."""
        if cfg.execution_length < cfg.action_sequence:
            return None
        return self._vector_env(cfg, _config(cfg, evaluation=True), num_envs)

    def evaluation_command(self, snapshot: Path) -> list[str]:
        """Of 100 episodes by which no snapshot was chosen."""
        return ["so101_robobase", "evaluate", str(snapshot), "--num_episodes", "100"]

    def collect_or_fetch_demos(self, cfg: DictConfig, num_demos: int) -> None:
        """Play `num_demos` successful episodes with the scripted expert; they stay in memory.

        Raises:
            UserError: the number is not positive, or the pick fails too often.
        """
        if num_demos == float("inf") or num_demos < 0:
            raise UserError(
                f"demos={num_demos} asks for all, but the scripted expert never ends; give a number"
            )
        config = _config(cfg)
        if cfg.use_onehot_time_and_no_bootstrap and num_demos:
            raise UserError("use_onehot_time_and_no_bootstrap=true has no demonstrations; demos=0")
        self._demos = demos.collect(config, int(num_demos))

    def post_collect_or_fetch_demos(self, cfg: DictConfig) -> None:
        """Nothing to rescale: the pick acts with the policy's own actions."""

    def load_demos_into_replay(
        self, cfg: DictConfig, buffer: ReplayBuffer, is_demo_buffer: bool = False
    ) -> None:
        """Add every demonstration to `buffer` as one episode, marked `demo` = 1."""
        config = _config(cfg)
        if not self._demos:
            return
        first_action = self._demos[0][1][-1]["demo_action"]
        env = DemoEnv(
            [_copy(demo) for demo in self._demos],
            gym.spaces.Box(-1.0, 1.0, first_action.shape, first_action.dtype.type),
            observation_space(config.observation, config.image_size, describe(config.scene.arm)),
        )
        for _ in self._demos:
            add_demo_to_replay_buffer(env, buffer)

    def _vector_env(
        self, cfg: DictConfig, config: TaskConfig, num_envs: int
    ) -> gym.vector.VectorEnv:
        env: gym.vector.VectorEnv = TaskVectorEnv(config, num_envs, cfg.action_sequence)
        if cfg.use_onehot_time_and_no_bootstrap:
            env = OnehotTime(env, config.episode_length)  # type: ignore[assignment]
        return AppendDemoInfo(FrameStack(env, cfg.frame_stack))  # type: ignore[return-value]


def _config(cfg: DictConfig, evaluation: bool = False) -> TaskConfig:
    for key in _NOT_NEEDED:
        if cfg[key]:
            raise UserError(f"{key}=true is not available for {cfg.env.env_name}; set it to false")
    return config_of(cfg, evaluation)


def _fill_in(cfg: DictConfig, group: str, before: Any, after: Any) -> None:
    """Write into `cfg` where `after`, a dataclass, differs from `before`."""
    old, new = asdict(before), asdict(after)
    for key, value in new.items():
        if value != old[key]:
            OmegaConf.update(cfg, f"{group}.{key}", value, merge=False, force_add=True)


def _copy(demo: Demo) -> Demo:
    """`demo` with infos of its own: replaying takes the action out of them."""
    return Demo((*step[:-1], dict(step[-1])) for step in demo)
