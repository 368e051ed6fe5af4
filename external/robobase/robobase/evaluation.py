"""Fixed-seed evaluation of an agent, one environment at a time or many at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from tqdm import tqdm

from robobase.envs.vector_compat import final_info
from robobase.errors import UserError
from robobase.method.core import Method

# Called after every reset and step with the environment, the infos of that step and the episode
# that each sub-environment is playing, (n,) int, -1 where its episode is over.
OnStep = Callable[[gym.Env | VectorEnv, dict[str, Any], np.ndarray], None]


@dataclass(frozen=True)
class EvaluationResult:
    """One entry per episode, in the order of the seeds."""

    success: np.ndarray | None  # (n,) bool; None where no step reported `task_success`
    reward: np.ndarray  # (n,) undiscounted return
    length: np.ndarray  # (n,) agent steps
    final_info: list[dict[str, Any]]  # info of each episode's last step

    def metrics(self, action_repeat: int = 1) -> dict[str, float]:
        """Means under RoboBase's names; `episode_length` in env steps.

        `unstable_episodes` is how many ended because their simulation failed, where it is reported.
        """
        metrics = {
            "episode_reward": float(self.reward.mean()),
            "episode_length": float(self.length.mean()) * action_repeat,
        }
        if self.success is not None:
            metrics["episode_success"] = float(self.success.mean())
        unstable = [info["unstable"] for info in self.final_info if "unstable" in info]
        if unstable:
            metrics["unstable_episodes"] = float(np.sum(unstable))
        return metrics


def evaluate(
    agent: Method,
    env: gym.Env | VectorEnv,
    num_episodes: int,
    seed: int,
    step: int,
    on_step: OnStep | None = None,
    progress: bool = False,
) -> EvaluationResult:
    """Play `num_episodes`, episode k from `reset(seed=seed + k)`, with the agent's eval actions.

    A vector environment plays `env.num_envs` episodes per wave and must reset in the same step.

    Args:
        step: env steps of training so far, for the agent's schedules.
    """
    if num_episodes < 1:
        raise UserError(f"num_episodes={num_episodes}: evaluate at least 1 episode")
    vector = isinstance(env, VectorEnv)
    width = env.num_envs if isinstance(env, VectorEnv) else 1
    reward, length = np.zeros(num_episodes), np.zeros(num_episodes, dtype=np.int64)
    success, reported = np.zeros(num_episodes, dtype=bool), False
    final_infos: list[dict[str, Any]] = [{} for _ in range(num_episodes)]

    was_running, was_training = agent.eval_env_running, agent.training
    agent.set_eval_env_running(True)
    agent.train(False)
    bar = tqdm(total=num_episodes, desc="evaluate", disable=not progress, leave=False)
    for first in range(0, num_episodes, width):
        episodes = np.arange(first, first + width)
        seeds = [int(seed + k) for k in episodes]
        episodes[episodes >= num_episodes] = -1
        observations, infos = env.reset(seed=seeds if vector else seeds[0])  # type: ignore[arg-type]
        agent.reset(step, [agent.num_train_envs + lane for lane in range(width)])
        if on_step:
            on_step(env, infos, episodes.copy())
        while (episodes >= 0).any():
            actions = act(agent, observations, step, eval_mode=True, batched=vector)
            observations, rewards, terminated, truncated, infos = env.step(actions)
            rewards = np.atleast_1d(np.asarray(rewards))
            done = np.atleast_1d(np.logical_or(terminated, truncated))
            if on_step:
                on_step(env, infos, episodes.copy())
            now = task_success(infos, width)
            reported |= now is not None
            for lane in np.flatnonzero(episodes >= 0):
                k = episodes[lane]
                reward[k] += rewards[lane]
                length[k] += 1
                success[k] |= now is not None and bool(now[lane])
                if done[lane]:
                    info = final_info(infos, lane) if vector else infos
                    final_infos[k] = dict(info or {})
                    episodes[lane] = -1
                    bar.update()
    bar.close()
    agent.set_eval_env_running(was_running)
    agent.train(was_training)
    return EvaluationResult(success if reported else None, reward, length, final_infos)


def act(
    agent: Method,
    observations: dict[str, np.ndarray],
    step: int,
    eval_mode: bool,
    batched: bool = True,
) -> np.ndarray:
    """Actions of the agent for numpy observations: (N, S, A) if `batched`, else (S, A).

    Raises:
        ValueError: the agent's action is not (N, S, A).
    """
    tensors = {
        key: torch.from_numpy(np.asarray(value if batched else value[None])).to(agent.device)
        for key, value in observations.items()
    }
    with torch.no_grad():
        output = agent.act(tensors, step, eval_mode)
    actions = output[0] if isinstance(output, tuple) else output
    if actions.ndim != 3:
        raise ValueError(
            f"{type(agent).__name__}.act returned shape {tuple(actions.shape)}; expected (N, S, A)"
        )
    rows = actions.cpu().numpy()
    return rows if batched else rows[0]


def unstable(infos: dict[str, Any], num_envs: int) -> np.ndarray | None:
    """(num_envs,) bool: episodes that end in this step because their simulation failed.

    An environment that can fail so says it in every info as `unstable`; None where none does.
    """
    if "unstable" not in infos:
        return None
    last = [final_info(infos, lane) or {} for lane in range(num_envs)]
    return np.array([bool(info.get("unstable")) for info in last])


def task_success(infos: dict[str, Any], num_envs: int) -> np.ndarray | None:
    """(num_envs,) bool: `task_success` > 0 in this step's info or in the final info of an episode.

    None where no environment reports it.
    """
    value = infos.get("task_success")
    ended = np.atleast_1d(infos.get("_final_info", np.zeros(num_envs, dtype=bool)))
    now = np.zeros(num_envs, dtype=bool)
    reported = False
    if value is not None:
        reported = True
        now |= np.atleast_1d(np.asarray(value, dtype=float)) > 0
        now &= ~ended  # after a same-step reset the top level belongs to the next episode
    for lane in np.flatnonzero(ended):
        last = (final_info(infos, lane) or {}).get("task_success")
        if last is not None:
            reported = True
            now[lane] = float(last) > 0
    return now if reported else None
