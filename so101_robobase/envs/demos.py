"""Demonstrations: the scripted expert plays the environment through its public action interface."""

from dataclasses import replace
from typing import Any

import numpy as np

from robobase.envs.env import Demo
from robobase.envs.vector_compat import final_info, final_obs
from robobase.errors import UserError
from so101_robobase.envs.vector_env import TaskVectorEnv
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.entry import make_teacher

_WIDTH = 16  # episodes played at once
_ATTEMPTS = 5  # episodes per demonstration before giving up


def collect(config: TaskConfig, num_demos: int) -> list[Demo]:
    """`num_demos` successful episodes of single (not stacked) observations.

    Attempt k is played from `reset(seed=k)` of `config` with `starts="demonstrations"`, so that
    no two begin alike, and none as an episode of training or evaluation. Observations and actions
    are those of `TaskVectorEnv`; every info holds `demo` = 1, and `demo_action` (A,) float32
    after the first.

    Raises:
        UserError: too few episodes succeed.
    """
    config = replace(config, starts="demonstrations")
    env = TaskVectorEnv(config, min(_WIDTH, num_demos), render_mode=None)
    demos: list[Demo] = []
    try:
        attempts = 0
        while len(demos) < num_demos:
            if attempts >= _ATTEMPTS * num_demos:
                raise UserError(
                    f"the scripted expert succeeded in {len(demos)} of {attempts} episodes, too "
                    f"few for demos={num_demos}; check env.stage and env.control, or set demos=0"
                )
            demos += _play_wave(env, attempts)
            attempts += env.num_envs
    finally:
        env.close()
    return demos[:num_demos]


def _play_wave(env: TaskVectorEnv, seed: int) -> list[Demo]:
    """One episode per member; those that succeed, in the order of their seeds."""
    teacher = make_teacher(env.task)
    observations, _ = env.reset(seed=seed)
    episodes: list[list[Any]] = [
        [(_row(observations, i), {"demo": 1})] for i in range(env.num_envs)
    ]
    succeeded = np.zeros(env.num_envs, bool)
    running = np.ones(env.num_envs, bool)
    while running.any():
        actions = teacher.act()
        observations, rewards, terminated, truncated, infos = env.step(actions)
        done = terminated | truncated
        for i in np.flatnonzero(running):
            info = {"demo": 1, "demo_action": actions[i].copy()}
            observation = final_obs(infos, i) if done[i] else _row(observations, i)
            step = (observation, float(rewards[i]), bool(terminated[i]), bool(truncated[i]), info)
            episodes[i].append(step)
            if done[i]:
                running[i] = False
                last = final_info(infos, i) or {}
                succeeded[i] = last["task_success"] > 0 and not last["unstable"]
    return [Demo(episodes[i]) for i in np.flatnonzero(succeeded)]


def _row(observations: dict[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    return {key: value[i].copy() for key, value in observations.items()}
