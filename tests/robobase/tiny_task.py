"""A point that must reach a target, seen from above: the smallest task that needs its picture.

The state vector holds the point but not the target, so only the image tells where to go. The
vector environment is native, can save its state, and speaks the workspace's interface: leading
time axis T = 1 in observations, action sequences of length S = 1.
"""

import copy
from pathlib import Path
from typing import Any

import gymnasium as gym
import hydra
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from omegaconf import DictConfig

from robobase.envs.env import Demo, DemoEnv, EnvFactory
from robobase.utils import add_demo_to_replay_buffer

CONFIG_DIR = Path(__file__).parent / "tiny_cfgs"  # for --config-dir

SIZE = 24  # pixels
STEP = 0.2  # of the unit the point moves at most per axis and step; the field is [-1, 1]^2
REACHED = 0.2  # distance that counts as success
POINT, TARGET = 255, 128  # grey levels


def tiny_config(*overrides: str) -> DictConfig:
    """What `python -m robobase.train env=tiny <overrides>` composes, on one CPU thread."""
    with hydra.initialize_config_module("robobase.cfgs", version_base=None):
        given = [f"hydra.searchpath=[file://{CONFIG_DIR}]", "env=tiny", "num_threads=1"]
        return hydra.compose("robobase_config", [*given, "num_gpus=0", *overrides])


class TinyVectorEnv(VectorEnv):
    """N points. Reward: minus the distance to the target, plus 1 for reaching it, which ends."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": ["rgb_array"]}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(
        self, num_envs: int, episode_length: int, pixels: bool = True, teacher: bool = False
    ):
        self.num_envs = num_envs
        self._teacher = teacher
        self._episode_length = episode_length
        self._pixels = pixels
        state_size = 2 if pixels else 4
        observation = {"low_dim_state": spaces.Box(-1, 1, (1, state_size), np.float32)}
        if pixels:
            observation["rgb"] = spaces.Box(0, 255, (1, 1, SIZE, SIZE), np.uint8)
        self.single_observation_space = spaces.Dict(observation)
        self.single_action_space = spaces.Box(-1, 1, (1, 2), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._point, self._target = np.zeros((num_envs, 2)), np.zeros((num_envs, 2))
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._rngs = [np.random.default_rng(i) for i in range(num_envs)]

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
            self._rngs = [np.random.default_rng(s) for s in seeds]
        self._begin(np.arange(self.num_envs))
        return self._observe(), {"task_success": np.zeros(self.num_envs), **self._teach()}

    def _teach(self) -> dict[str, np.ndarray]:
        if not self._teacher:
            return {}
        straight = np.clip((self._target - self._point) / STEP, -1, 1)
        return {"teacher_action": straight.astype(np.float32)}

    def _begin(self, lanes: np.ndarray) -> None:
        for i in lanes:
            self._point[i] = self._rngs[i].uniform(-0.8, 0.8, 2)
            self._target[i] = self._rngs[i].uniform(-0.8, 0.8, 2)
        self._steps[lanes] = 0

    def step(self, actions):
        moves = STEP * np.clip(np.asarray(actions, dtype=float)[:, 0], -1, 1)
        self._point = np.clip(self._point + moves, -1, 1)
        self._steps += 1
        distance = np.linalg.norm(self._point - self._target, axis=1)
        terminated = distance < REACHED
        truncated = (self._steps >= self._episode_length) & ~terminated
        infos: dict[str, Any] = {"task_success": terminated.astype(float), "distance": distance}
        done = terminated | truncated
        if done.any():
            final = {key: infos[key].copy() for key in ("task_success", "distance")}
            infos |= {"final_obs": self._observe(), "_final_obs": done}
            infos |= {"final_info": final, "_final_info": done}
            self._begin(np.flatnonzero(done))
            infos["task_success"] = np.where(done, 0.0, infos["task_success"])
        infos |= self._teach()
        return self._observe(), terminated - distance, terminated, truncated, infos

    def _observe(self) -> dict[str, np.ndarray]:
        if not self._pixels:
            state = np.concatenate([self._point, self._target], axis=1)
            return {"low_dim_state": state[:, None].astype(np.float32)}
        image = self._draw()
        return {"low_dim_state": self._point[:, None].astype(np.float32), "rgb": image[:, None]}

    def _draw(self) -> np.ndarray:
        """(N, 1, SIZE, SIZE) uint8: a square for the target, one for the point over it."""
        image = np.zeros((self.num_envs, 1, SIZE, SIZE), np.uint8)
        for position, level in ((self._target, TARGET), (self._point, POINT)):
            corner = np.rint((position + 1) / 2 * (SIZE - 4)).astype(int)
            for i, (x, y) in enumerate(corner):
                image[i, 0, y : y + 4, x : x + 4] = level
        return image

    def render(self):
        return tuple(np.repeat(frame[0][..., None], 3, axis=-1) for frame in self._draw())

    def state_dict(self) -> dict[str, Any]:
        return {
            "point": torch.from_numpy(self._point.copy()),
            "target": torch.from_numpy(self._target.copy()),
            "steps": torch.from_numpy(self._steps.copy()),
            "rngs": [rng.bit_generator.state for rng in self._rngs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for own, key in ((self._point, "point"), (self._target, "target"), (self._steps, "steps")):
            own[:] = np.asarray(state[key])
        for rng, saved in zip(self._rngs, state["rngs"], strict=True):
            rng.bit_generator.state = saved


class TinyEnv(gym.Env):
    """One point: the vector environment with N = 1."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, episode_length: int, pixels: bool = True):
        self._envs = TinyVectorEnv(1, episode_length, pixels)
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        observation, infos = self._envs.reset(seed=seed)
        return _row(observation), _row(infos)

    def step(self, action):
        observation, reward, terminated, truncated, infos = self._envs.step(action[None])
        if terminated[0] or truncated[0]:
            observation, infos = infos["final_obs"], infos["final_info"]
        ended = bool(terminated[0]), bool(truncated[0])
        return _row(observation), float(reward[0]), *ended, _row(infos)

    def render(self):
        return self._envs.render()[0]


class TinyFactory(EnvFactory):
    """The point task; demonstrations walk straight to the target."""

    def make_train_env(self, cfg: DictConfig) -> VectorEnv:
        return TinyVectorEnv(
            cfg.num_train_envs, cfg.env.episode_length, cfg.pixels, cfg.env.teacher
        )

    def make_eval_env(self, cfg: DictConfig) -> gym.Env:
        return TinyEnv(cfg.env.episode_length, cfg.pixels)

    def make_eval_vector_env(self, cfg: DictConfig, num_envs: int) -> VectorEnv | None:
        return TinyVectorEnv(num_envs, cfg.env.episode_length, cfg.pixels)

    def collect_or_fetch_demos(self, cfg: DictConfig, num_demos: int) -> None:
        env = TinyEnv(cfg.env.episode_length, cfg.pixels)
        self._demos = [_walk(env, seed) for seed in range(num_demos)]

    def post_collect_or_fetch_demos(self, cfg: DictConfig) -> None:
        """The demonstrations need no rescaling."""

    def load_demos_into_replay(self, cfg: DictConfig, buffer, is_demo_buffer: bool = False) -> None:
        env = TinyEnv(cfg.env.episode_length, cfg.pixels)
        replay = DemoEnv(copy.deepcopy(self._demos), env.action_space, env.observation_space)
        for _ in self._demos:
            add_demo_to_replay_buffer(replay, buffer)


def _row(batch: dict[str, np.ndarray]) -> dict[str, Any]:
    return {key: rows[0] for key, rows in batch.items()}


def _walk(env: TinyEnv, seed: int) -> Demo:
    """Frames and actions without the T and S axes, as the buffer takes them."""
    observation, info = env.reset(seed=seed)
    steps: list[tuple] = [(_newest(observation), info | {"demo": 1})]
    done = False
    while not done:
        to_target = env._envs._target - env._envs._point
        action = np.clip(to_target / STEP, -1, 1).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        info |= {"demo": 1, "demo_action": action[0]}
        steps.append((_newest(observation), reward, terminated, truncated, info))
        done = terminated or truncated
    return Demo(steps)


def _newest(observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: frames[-1] for key, frames in observation.items()}
