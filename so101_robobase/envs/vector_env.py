"""A task as a native `gymnasium.vector.VectorEnv`: N episodes in one process."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from robobase.errors import UserError
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.base.settings import from_mapping
from so101_robobase.envs.observer import make_observer
from so101_robobase.sim.spectator import Spectator
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.entry import entry, make_task, make_teacher


class TaskVectorEnv(gym.vector.VectorEnv):
    """N episodes of a task that reset themselves in the step in which they end.

    Observations are those of `Observer`, actions those of `arm.control`, infos those of
    `Task.info`. One step holds its action for `config.action_repeat` control steps of 20 ms
    and sums their rewards. Member i behaves like a `TaskEnv` with the same seed, bit for bit.

    In the step in which members end, `infos` also has

    | key         | value                                                                       |
    |-------------|-----------------------------------------------------------------------------|
    | final_obs   | last observations as a dict of arrays (N, ...); valid where `_final_obs`    |
    | final_info  | last infos as a dict of arrays (N,); valid where `_final_info`; as well the |
    |             | last state, `qpos` (N, nq), and that which the camera showed, `seen_qpos`   |

    while observations and all other infos of these members are those of their next episode.

    With `config.teacher`, infos of resets and steps have `teacher_action` (N, A) float32: what the
    scripted expert would do on the observations that they come with.

    Args:
        config: the task; None takes the defaults and `settings`.
        num_envs: N, at least 1.
        action_sequence: None for actions (A,); S for sequences (S, A) that are played in order
            within one step, up to the end of the episode.
        render_mode: "rgb_array" or None.
        num_rendered: how many members, from the first, `render` draws.
        task: name of the task where there is no `config`.
        settings: fields of its config, as plain values.

    Raises:
        UserError: a number is not allowed, or the renderer does not start.
    """

    metadata = {  # noqa: RUF012 - declared so by gymnasium
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": ["rgb_array"],
        "render_fps": 1 / CONTROL_PERIOD,
    }

    def __init__(
        self,
        config: TaskConfig | None = None,
        num_envs: int = 1,
        action_sequence: int | None = None,
        render_mode: str | None = "rgb_array",
        num_rendered: int = 1,
        task: str = "lift",
        **settings: Any,
    ):
        if num_envs < 1:
            raise UserError(f"num_envs={num_envs} must be at least 1")
        if action_sequence is not None and action_sequence < 1:
            raise UserError(f"action_sequence={action_sequence} must be at least 1")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise UserError(f"render_mode={render_mode!r} is unknown; give 'rgb_array' or None")
        if config is not None and settings:
            raise UserError(f"give a config, or {', '.join(settings)}; not both")
        config = config if config is not None else from_mapping(entry(task).config, settings, task)
        self.config = config
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.metadata = {
            **self.metadata,
            "render_fps": 1 / CONTROL_PERIOD / (config.action_repeat * (action_sequence or 1)),
        }
        self.task = make_task(config, num_envs)
        self._teacher = make_teacher(self.task) if config.teacher else None
        if self._teacher is not None and action_sequence not in (None, 1):
            raise UserError(
                f"action_sequence={action_sequence} with env.teacher=true: a teacher shows one "
                "action at a time; set action_sequence=1"
            )
        self._sequence = action_sequence
        self._observer = make_observer(self.task.sim, config)
        self.single_observation_space = self._observer.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        shape: tuple[int, ...] = (self.task.action_dim,)
        if action_sequence is not None:
            shape = (action_sequence, *shape)
        self.single_action_space = spaces.Box(-1.0, 1.0, shape, np.float32)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._observations: dict[str, np.ndarray] | None = None
        self._num_rendered = min(num_rendered, num_envs)
        self._spectator = Spectator(self.task.sim, config.observation)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start N new episodes.

        Args:
            seed: member i's generator is seeded with `seed[i]`, or with `seed + i` for an int; None
                lets it continue.
            options: none are known.
        """
        super().reset(seed=seed if isinstance(seed, int) else None)
        if isinstance(seed, int | np.integer):
            self.task.seed([int(seed) + i for i in range(self.num_envs)])
        elif seed is not None:
            if len(seed) != self.num_envs:
                raise UserError(f"{len(seed)} seeds for {self.num_envs} environments; give as many")
            self.task.seed(seed)
        self.task.reset(np.arange(self.num_envs))
        self._observations = self._observer.observe()
        if self._teacher is not None:
            self._teacher.reset()
        return _copies(self._observations), self._infos()

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one action (or sequence) per member, `actions` (N, [S,] A) in [-1, 1].

        Returns observations, rewards (N,) float64, terminated (N,), truncated (N,), infos.
        Raises UserError if `actions` has another shape.
        """
        if self._observations is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        actions = np.asarray(actions)
        if actions.shape != self.action_space.shape:
            raise UserError(f"actions have shape {actions.shape}, not {self.action_space.shape}")
        result = self.task.step(actions if self._sequence is None else actions[:, 0])
        reward = result.reward
        for k in range(1, self._sequence or 1):
            result = self.task.step(actions[:, k])
            reward += result.reward
        observations = self._observer.observe()
        infos: dict[str, Any] = {}
        done = result.terminated | result.truncated
        if done.any():
            infos = {
                "final_obs": _copies(observations),
                "_final_obs": done,
                "final_info": {
                    **self.task.info(),
                    "qpos": self.task.sim.qpos.copy(),
                    "seen_qpos": self.task.sim.interface.seen_qpos.copy(),
                },
                "_final_info": done.copy(),
            }
            ended = np.flatnonzero(done)
            self.task.reset(ended)
            if self._teacher is not None:
                self._teacher.reset(ended)
            for key, rows in self._observer.observe(ended).items():
                observations[key][ended] = rows
        self._observations = observations
        infos = {**self._infos(), **infos}
        return _copies(observations), reward, result.terminated, result.truncated, infos

    def _infos(self) -> dict[str, Any]:
        """Once per step: the teacher remembers that it was asked."""
        if self._teacher is None:
            return self.task.info()
        return {**self.task.info(), "teacher_action": self._teacher.act()}

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Pictures (H, W, 3) uint8 of the first `num_rendered` members."""
        if self.render_mode is None or self._observations is None:
            return None
        pictures = self._observations.get("rgb", [None] * self.num_envs)
        return tuple(self._spectator.draw(i, pictures[i]) for i in range(self._num_rendered))

    def state_dict(self) -> dict[str, Any]:
        """All that decides later steps, as tensors and plain containers; safe to `torch.load`."""
        teacher = {} if self._teacher is None else {"teacher": self._teacher.state_dict()}
        return _to_tensors({**self.task.state_dict(), **teacher})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of an environment of the same config and N, bit for bit."""
        arrays = _to_arrays(state)
        self.task.load_state_dict(arrays)
        if self._teacher is not None and "teacher" in arrays:
            self._teacher.load_state_dict(arrays["teacher"])
        self._observations = self._observer.observe()

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderers."""
        self._observer.close()
        self._spectator.close()


def _copies(observations: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: value.copy() for key, value in observations.items()}


def _to_tensors(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, dict):
        return {key: _to_tensors(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_tensors(item) for item in value]
    return value


def _to_arrays(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.cpu().numpy()
    if isinstance(value, dict):
        return {key: _to_arrays(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_arrays(item) for item in value]
    return value
