"""The lift task as a single `gymnasium.Env`, registered as `so101_robobase/Lift-v0`."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from so101_robobase.config import LiftConfig, from_mapping
from so101_robobase.sim.lift import LiftTask
from so101_robobase.sim.observer import STATE_NAMES, state_observation
from so101_robobase.sim.spectator import Spectator
from so101_robobase.vector_env import FRAMES_PER_SECOND

_ONLY = np.array([0])  # this environment is member 0 of a batch of one


class LiftEnv(gym.Env):
    """Lift a cube with an SO-101 arm: one episode, observed as a state vector.

    Wrap it in `SegDepth` or `WristCamera` (`so101_robobase.wrappers`) to see what the robot sees.

    Observation, `Box(21)` float32:

    | index | meaning                                              | unit   |
    |-------|------------------------------------------------------|--------|
    | 0-5   | joint positions in `JOINTS` order                    | rad    |
    | 6-11  | joint velocities                                     | rad/s  |
    | 12-14 | tool centre point x, y, z in the base frame          | m      |
    | 15-17 | its roll, pitch, yaw; 0, 0 and the heading when down | rad    |
    | 18-20 | cube x, y, z                                         | m      |

    Action, `Box(-1, 1)` float32: 6 joint deltas (`control.mode=joint_delta`) or 4 numbers
    (`cartesian_delta`), see `so101_robobase.control`. It is held for `action_repeat` control steps.
    Reward and end of the episode are those of `LiftConfig`; infos are those of `LiftTask.info`
    without `task_success`, which `SuccessInfo` adds.

    Args:
        config: the task; `observation` and `renderer` are the wrappers' business.
        render_mode: "rgb_array" or None.
        settings: fields of `LiftConfig` in place of `config`, as plain values; a group such as
            `control` or `scene` is a dict.

    Raises:
        UserError: a setting is unknown or not allowed.
    """

    metadata = {  # noqa: RUF012 - declared so by gymnasium
        "render_modes": ["rgb_array"],
        "render_fps": FRAMES_PER_SECOND / LiftConfig.action_repeat,
    }

    def __init__(
        self, config: LiftConfig | None = None, render_mode: str | None = None, **settings: Any
    ):
        self.config = config if config is not None else from_mapping(LiftConfig, settings, "lift")
        self.render_mode = render_mode
        self.metadata = {
            **self.metadata,
            "render_fps": FRAMES_PER_SECOND / self.config.action_repeat,
        }
        self.task = LiftTask(self.config, num_envs=1)
        self.observation_space = spaces.Box(-np.inf, np.inf, (len(STATE_NAMES),), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (self.task.action_dim,), np.float32)
        self._spectator = Spectator(self.task, "state")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; equal seeds give equal episodes."""
        super().reset(seed=seed)
        self.task.seed([seed])
        self.task.reset(_ONLY)
        return state_observation(self.task)[0], self._info()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Hold `action` (A,) for `action_repeat` control steps."""
        result = self.task.step(np.asarray(action)[None])
        return (
            state_observation(self.task)[0],
            float(result.reward[0]),
            bool(result.terminated[0]),
            bool(result.truncated[0]),
            self._info(),
        )

    def render(self) -> np.ndarray | None:
        """A view of the scene, (H, W, 3) uint8."""
        if self.render_mode is None:
            return None
        return self._spectator.draw(0, None)

    def close(self) -> None:
        """Free the renderer."""
        self._spectator.close()

    def _info(self) -> dict[str, Any]:
        info = {key: value[0].item() for key, value in self.task.info().items()}
        del info["task_success"]
        return info
