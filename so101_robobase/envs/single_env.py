"""A task as a single `gymnasium.Env`, registered as `so101_robobase/Lift-v0` and the like."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from robobase.errors import UserError
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.base.settings import from_mapping
from so101_robobase.envs.observer import Observer, make_observer, state_names, state_observation
from so101_robobase.sim.spectator import Spectator
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.entry import entry, make_task, make_teacher

_ONLY = np.array([0])  # this environment is member 0 of a batch of one
_OF_PICTURES = ("image_size", "renderer")  # settings that a state vector has no use for


class TaskEnv(gym.Env):
    """One episode of a task, with one SO-101 arm.

    With the setting `observation` (seg_depth, seg, rgb or state) it is observed as a member of
    `TaskVectorEnv`: a dict as of `Observer`, without the cube where there is a picture. Without, as
    a vector that holds the cube; `SegDepth` or `WristCamera` (`envs.wrappers`) around it
    show what the robot sees.

    Observation without the setting, of the SO-101 `Box(21)` float32:

    | index | meaning                                              | unit   |
    |-------|------------------------------------------------------|--------|
    | 0-5   | joint positions in the arm's order                   | rad    |
    | 6-11  | joint velocities                                     | rad/s  |
    | 12-14 | tool centre point x, y, z in the base frame          | m      |
    | 15-17 | its roll, pitch, yaw; 0, 0 and the heading when down | rad    |
    | 18-20 | cube x, y, z                                         | m      |

    Action, `Box(-1, 1)` float32: a delta per joint (`control.mode=joint_delta`) or 4 numbers
    (`cartesian_delta`), see `so101_robobase.arm.control`. It is held for `action_repeat` control
    steps.
    Reward and end of the episode are the task's; infos are those of `Task.info`
    without `task_success`, which `SuccessInfo` adds; with `teacher`, `teacher_action` (A,) too.

    Args:
        config: the task; `observation`, `image_size` and `renderer` in it are the wrappers'
            business.
        render_mode: "rgb_array" or None.
        task: name of the task where there is no `config`.
        settings: fields of its config, as plain values; a group such as `control` or `scene` is a
            dict.

    Raises:
        UserError: a setting is unknown, not allowed, or would have no effect.
    """

    metadata = {  # noqa: RUF012 - declared so by gymnasium
        "render_modes": ["rgb_array"],
        "render_fps": 1 / CONTROL_PERIOD / TaskConfig.action_repeat,
    }

    def __init__(
        self,
        config: TaskConfig | None = None,
        render_mode: str | None = None,
        task: str = "lift",
        **settings: Any,
    ):
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise UserError(f"render_mode={render_mode!r} is unknown; give 'rgb_array' or None")
        if config is not None and settings:
            raise UserError(f"give a config, or {', '.join(settings)}; not both")
        for name in _OF_PICTURES if "observation" not in settings else ():
            if name in settings:
                raise UserError(
                    f"{name}={settings[name]!r} has no effect without observation; give "
                    "observation='seg_depth', 'seg' or 'rgb' too"
                )
        self.config = (
            config if config is not None else from_mapping(entry(task).config, settings, task)
        )
        self.render_mode = render_mode
        self.metadata = {
            **self.metadata,
            "render_fps": 1 / CONTROL_PERIOD / self.config.action_repeat,
        }
        self.task = make_task(self.config, num_envs=1)
        self._observer: Observer | None = None
        self.observation_space: spaces.Space = spaces.Box(
            -np.inf, np.inf, (len(state_names(self.task.sim.scene.arm)),), np.float32
        )
        kind = "state"
        if "observation" in settings:
            kind = self.config.observation
            self._observer = make_observer(self.task.sim, self.config)
            self.observation_space = self._observer.space
        self.action_space = spaces.Box(-1.0, 1.0, (self.task.action_dim,), np.float32)
        self._teacher = make_teacher(self.task) if self.config.teacher else None
        self._spectator = Spectator(self.task.sim, kind)
        self._picture: np.ndarray | None = None  # of the latest observation

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode; equal seeds give equal episodes."""
        super().reset(seed=seed)
        self.task.seed([seed])
        self.task.reset(_ONLY)
        if self._teacher is not None:
            self._teacher.reset()
        return self._observe(), self._info()

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Hold `action` (A,) for `action_repeat` control steps."""
        result = self.task.step(np.asarray(action)[None])
        return (
            self._observe(),
            float(result.reward[0]),
            bool(result.terminated[0]),
            bool(result.truncated[0]),
            self._info(),
        )

    def render(self) -> np.ndarray | None:
        """A view of the scene beside the observed picture, if any, (H, W, 3) uint8."""
        if self.render_mode is None:
            return None
        return self._spectator.draw(0, self._picture)

    def close(self) -> None:
        """Free the renderers."""
        self._spectator.close()
        if self._observer is not None:
            self._observer.close()

    def _observe(self) -> Any:
        if self._observer is None:
            return state_observation(self.task.sim)[0]
        observation = {key: rows[0].copy() for key, rows in self._observer.observe().items()}
        self._picture = observation.get("rgb")
        return observation

    def _info(self) -> dict[str, Any]:
        info = {key: value[0].item() for key, value in self.task.info().items()}
        del info["task_success"]
        if self._teacher is not None:
            info["teacher_action"] = self._teacher.act()[0]
        return info
