"""The parts of a run that a config describes: environment factory, agent, replay buffer."""

from typing import Any, NamedTuple

import gymnasium as gym
import hydra
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from robobase.envs.env import EnvFactory
from robobase.envs.vector_compat import require_same_step
from robobase.errors import UserError
from robobase.method.core import Method
from robobase.replay_buffer.prioritized_replay_buffer import PrioritizedReplayBuffer
from robobase.replay_buffer.uniform_replay_buffer import UniformReplayBuffer
from robobase.settings.readers import surplus
from robobase.triton_first import load_triton


def instantiate(config: DictConfig, **given: Any) -> Any:
    """`hydra.utils.instantiate`, without its wrapping around a `UserError` of the target."""
    try:
        return hydra.utils.instantiate(config, **given)
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from error
        raise


def make_agent(
    cfg: DictConfig,
    observation_space: spaces.Dict,
    action_space: spaces.Box,
    device: torch.device,
) -> Method:
    """The agent of `cfg.method` in eval mode, with its intrinsic reward module if there is one.

    Left out are the settings that the class of the method does not take: an environment refines
    the method it chooses, and where the command line chooses another one, they are still there.
    """
    given = {
        "device": device,
        "observation_space": observation_space,
        "action_space": action_space,
    }
    intrinsic = cfg.get("intrinsic_reward_module")
    settings: Any = OmegaConf.to_container(cfg.method, resolve=True)
    for key in surplus(cfg, "method"):
        del settings[key]
    agent = instantiate(
        settings,
        **given,
        num_train_envs=cfg.num_train_envs,
        replay_alpha=cfg.replay.alpha,
        replay_beta=cfg.replay.beta,
        frame_stack_on_channel=cfg.frame_stack_on_channel,
        intrinsic_reward_module=instantiate(intrinsic, **given) if intrinsic else None,
    )
    agent.train(False)
    return agent


class Envs(NamedTuple):
    """The environments of a run, and what the agent sees of them."""

    train: VectorEnv | None
    evaluation: gym.Env | None
    evaluation_vector: VectorEnv | None
    observation_space: spaces.Dict
    action_space: spaces.Box


def make_envs(cfg: DictConfig, factory: EnvFactory) -> Envs:
    """Those that `cfg` asks for, after their demonstrations were collected or fetched."""
    load_triton()  # the environments may open OpenGL
    if cfg.demos != 0:
        factory.collect_or_fetch_demos(cfg, cfg.demos)
    train: VectorEnv | None = None
    if cfg.num_train_envs > 0:
        train = factory.make_train_env(cfg)
        require_same_step(train)
    evaluation: gym.Env | None = factory.make_eval_env(cfg)
    if cfg.demos != 0:
        factory.post_collect_or_fetch_demos(cfg)
    assert evaluation is not None
    observation_space, action_space = evaluation.observation_space, evaluation.action_space
    assert isinstance(observation_space, spaces.Dict)
    assert isinstance(action_space, spaces.Box)
    many: VectorEnv | None = None
    if cfg.num_eval_episodes == 0:
        evaluation.close()
        evaluation = None
    elif cfg.frame_stack_on_channel:  # recurrent agents keep the memory of one evaluation
        many = factory.make_eval_vector_env(cfg, min(cfg.num_eval_episodes, cfg.num_eval_envs))
    return Envs(train, evaluation, many, observation_space, action_space)


def create_default_envs(cfg: DictConfig) -> EnvFactory:
    """The factory that `cfg.env_factory` names."""
    if not cfg.env_factory:
        raise UserError(
            f"env.env_name={cfg.env.get('env_name')!r} names no environment of the engine; "
            "set env_factory._target_ to an EnvFactory, or pass env_factory= to Workspace"
        )
    return instantiate(cfg.env_factory)


def create_default_replay_buffer(
    cfg: DictConfig,
    observation_space: spaces.Dict,
    action_space: spaces.Box,
    demo_replay: bool = False,
) -> UniformReplayBuffer:
    """The buffer that `cfg.replay` describes; the one for demonstrations with its own sizes."""
    demo_flag = spaces.Dict({"demo": spaces.Box(0, 1, shape=(), dtype=np.uint8)})
    size = (cfg.replay.demo_size or cfg.replay.size) if demo_replay else cfg.replay.size
    if "rollout_length" in cfg.method:
        size = min(size, 64)  # never used: an on-policy method has rollouts instead
    buffer = PrioritizedReplayBuffer if cfg.replay.prioritization else UniformReplayBuffer
    return buffer(
        batch_size=cfg.demo_batch_size if demo_replay else cfg.batch_size,
        replay_capacity=size,
        nstep=cfg.replay.nstep,
        gamma=cfg.replay.gamma,
        action_shape=action_space.shape,
        action_dtype=action_space.dtype,
        reward_shape=(),
        reward_dtype=np.float32,
        observation_elements=observation_space,
        extra_replay_elements=demo_flag if cfg.demos != 0 else None,
        save_dir=cfg.replay.save_dir,
        num_workers=cfg.replay.num_workers,
        sequential=cfg.replay.sequential,
        transition_seq_len=cfg.replay.transition_seq_len,
        memory_mapped=cfg.replay.memory_mapped,
    )
