"""N episodes of a task: reset, step, success, ends and what they pay; knows no particular task."""

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from robobase.errors import UserError
from so101_robobase.sim.scene import Scene
from so101_robobase.sim.sight import draws_keys
from so101_robobase.sim.simulation import Simulation
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.judge import Judge
from so101_robobase.tasks.starts import Starts

_COUNTERS = (
    "succeeded",
    "success",
    "terminated",
    "truncated",
    "stage",
    "max_cube_z",
    "previous_action",
)  # what an episode remembers beside its simulation


@dataclass
class StepResult:
    """Outcome of one policy step: `action_repeat` control steps, fewer where an episode ended."""

    reward: np.ndarray  # (N,) float64, summed over the control steps
    terminated: np.ndarray  # (N,) bool
    truncated: np.ndarray  # (N,) bool
    control_steps: np.ndarray  # (N,) int, how many were taken


def make_simulation(
    config: TaskConfig, scene: Scene, num_envs: int, num_threads: int
) -> Simulation:
    """`num_envs` members of `scene`, moved, varied and seen as `config` says."""
    return Simulation(
        scene,
        num_envs,
        config.control,
        config.randomization,
        estimates_velocity=config.joint_velocity == "differences",
        draws_sight_keys=draws_keys(config.sight, config.corruption),
        num_threads=num_threads,
    )


class Task:
    """N episodes of the task that a subclass describes.

    A subclass names its `Starts` and its `Judge` and says what a step pays.

    | attribute       | shape, type  | meaning                                                 |
    |-----------------|--------------|---------------------------------------------------------|
    | sim             | `Simulation` | arms and cubes                                          |
    | episode_steps   | (N,) int     | control steps since the reset                           |
    | grasping        | (N,) bool    | both fingers touch the cube, the jaw is closed          |
    | hold_count      | (N,) int     | consecutive control steps in which the goal was met     |
    | success         | (N,) bool    | success at the latest control step                      |
    | succeeded       | (N,) bool    | success at any control step of the episode              |
    | unstable        | (N,) bool    | the physics blew up, which has ended the episode        |
    | stage           | (N,) int     | the stage that the episode started from                 |
    | max_cube_z      | (N,) float   | greatest height of the cube's centre in the episode, m  |

    Args:
        config: the task.
        num_envs: N, at least 1.
        num_threads: of physics; None takes `config.num_threads`. Results do not depend on it.
    """

    starts_class: ClassVar[type[Starts]] = Starts
    judge_class: ClassVar[type[Judge]]

    def __init__(self, config: Any, num_envs: int, num_threads: int | None = None):
        self.num_envs = num_envs
        scene = config.build_scene()
        self.config = config = replace(config, scene=scene.config)
        threads = config.num_threads if num_threads is None else num_threads
        self.sim = make_simulation(config, scene, num_envs, threads)
        self.starts = self.starts_class(config, self.sim)
        self.judge = self.judge_class(self.sim, config)
        self.episode_steps = self.sim.steps
        self.succeeded = np.zeros(num_envs, bool)
        self.success = np.zeros(num_envs, bool)
        self.terminated = np.zeros(num_envs, bool)
        self.truncated = np.zeros(num_envs, bool)
        self.unstable = np.zeros(num_envs, bool)
        self.stage = np.zeros(num_envs, np.int64)
        self.max_cube_z = np.zeros(num_envs)
        self.previous_action = np.full((num_envs, self.action_dim), np.nan)

    @property
    def grasping(self) -> np.ndarray:
        return self.judge.grasping

    @property
    def hold_count(self) -> np.ndarray:
        return self.judge.count

    @property
    def action_dim(self) -> int:
        """Numbers in one action, each in [-1, 1]."""
        return self.sim.controller.action_dim

    @property
    def tcp_to_cube(self) -> np.ndarray:
        """Distance from the tool centre point to the cube's centre, m, (N,)."""
        return norm(self.sim.cube_pos - self.sim.tcp_pos)

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Member i's next episode is `seeds[i]` of this config's starts; None goes on drawing."""
        self.starts.seed(seeds)

    def reset(self, ids: np.ndarray) -> None:
        """Start new episodes in the members `ids` (rising); no other member changes."""
        if len(ids) == 0:
            return
        self.stage[ids] = self.starts.begin(ids)
        ended = self.terminated, self.truncated, self.unstable
        for flag in (self.succeeded, self.success, *ended):
            flag[ids] = False
        self.previous_action[ids] = np.nan
        self.judge.reset(ids)
        self.max_cube_z[ids] = self.sim.cube_pos[ids, 2]
        self.begin_counting(ids)

    def step(self, action: np.ndarray) -> StepResult:
        """Hold `action` (N, A) for `action_repeat` control steps; success is checked at each.

        A member whose episode ends keeps the state it ended in and waits to be reset. Raises
        UserError for another shape, nan or inf.
        """
        reward = np.zeros(self.num_envs)
        control_steps = np.zeros(self.num_envs, np.int64)
        action = np.asarray(action, np.float64)
        if action.shape != (self.num_envs, self.action_dim):
            wanted = (self.num_envs, self.action_dim)
            raise UserError(f"actions have shape {action.shape}, not {wanted}")
        if not np.isfinite(action).all():
            raise UserError("actions hold nan or inf; the policy that gave them has diverged")
        running = ~(self.terminated | self.truncated)
        for _ in range(self.config.action_repeat):
            if not running.any():
                break
            reward[running] += self._control_step(action, running)[running]
            control_steps += running
            running &= ~(self.terminated | self.truncated)
        return StepResult(reward, self.terminated.copy(), self.truncated.copy(), control_steps)

    def info(self) -> dict[str, np.ndarray]:
        """What evaluations and logs want to know about every member, each (N,).

        | key             | type    | meaning                                          |
        |-----------------|---------|--------------------------------------------------|
        | task_success    | float64 | 1 once the episode has succeeded, else 0         |
        | is_success      | bool    | success at the latest control step               |
        | is_grasping     | bool    | both fingers touch the cube, the jaw is closed   |
        | unstable        | bool    | the physics blew up, which has ended the episode |
        | cube_z          | float64 | height of the cube's centre, m                   |
        | max_cube_z      | float64 | its greatest value in the episode, m             |
        | gripper_to_cube | float64 | tool centre point to cube centre, m              |
        | jaw_angle       | float64 | position of the gripper joint, rad               |
        | hold_count      | int64   | consecutive control steps with the goal met      |
        | episode_steps   | int64   | control steps since the reset                    |
        | stage           | int64   | stage that the episode started from              |
        """
        return {
            "task_success": self.succeeded.astype(np.float64),
            "is_success": self.success.copy(),
            "is_grasping": self.grasping.copy(),
            "unstable": self.unstable.copy(),
            "cube_z": self.sim.cube_pos[:, 2].copy(),
            "max_cube_z": self.max_cube_z.copy(),
            "gripper_to_cube": self.tcp_to_cube,
            "jaw_angle": self.sim.joint_pos[:, -1].copy(),
            "hold_count": self.hold_count.copy(),
            "episode_steps": self.episode_steps.copy(),
            "stage": self.stage.copy(),
        }

    def state_dict(self) -> dict[str, Any]:
        """All that later steps depend on, as plain containers and arrays."""
        counters = {name: getattr(self, name).copy() for name in (*_COUNTERS, *self.counters)}
        return {**self.sim.state_dict(), **self.judge.state_dict(), **counters}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of a task with the same config and N, bit for bit."""
        self.sim.load_state_dict(state)
        self.judge.load_state_dict(state)
        for name in (*_COUNTERS, *self.counters):
            getattr(self, name)[:] = state[name]

    # ---- What a task says

    counters: ClassVar[tuple[str, ...]] = ()
    """Attributes (N, …) that it remembers of an episode beside these."""

    def reward(self, action: np.ndarray) -> np.ndarray:
        """What the control step paid that `action` (N, A) has just made, (N,)."""
        raise NotImplementedError

    @property
    def success_pay(self) -> float:
        """How much of a successful step's reward success itself is, which is paid once."""
        return 0.0

    def begin_counting(self, ids: np.ndarray) -> None:
        """Episodes begin in the members `ids`: set `counters` back."""

    def before_judging(self) -> None:
        """The state has changed, the judge has not looked yet."""

    def count(self, running: np.ndarray) -> None:
        """One more control step of the `running` members (N,) bool; the judge has looked."""

    # ---- A control step

    def _control_step(self, action: np.ndarray, running: np.ndarray) -> np.ndarray:
        """20 ms of the `running` members (N,) bool; returns rewards (N,), valid where running."""
        self._end_unstable(self.sim.advance(action, running))
        self.before_judging()
        self.judge.advance(running)
        self.count(running)
        sound = running & ~self.unstable
        self.max_cube_z[sound] = np.maximum(self.max_cube_z, self.sim.cube_pos[:, 2])[sound]
        self.success[running] = (sound & self.judge.success)[running]
        self.succeeded |= self.success
        reward = self.reward(action)
        self.previous_action[running] = action[running]
        reward += self._end_episodes(reward, running)
        reward[self.unstable] = 0
        return reward

    def _end_unstable(self, ids: np.ndarray) -> None:
        """End the episodes `ids` (N,) bool, whose physics blew up, and which now rest elsewhere.

        That pose has nothing to do with the episode: it has no value, so this is no truncation,
        after which a learner would expect the value of what it sees last.
        """
        self.unstable |= ids
        self.terminated |= ids
        if ids.any():
            _tell_once()

    def action_change_sq(self, action: np.ndarray) -> np.ndarray:
        """Squared Euclidean norm of the change of action, (N,); 0 at an episode's first."""
        return sum_of_squares(np.nan_to_num(action - self.previous_action))

    def _end_episodes(self, reward: np.ndarray, running: np.ndarray) -> np.ndarray:
        """Set `terminated` and `truncated` of the running members; returns the bonus, (N,)."""
        bonus = np.zeros(self.num_envs)
        succeeded = running & self.success
        mode = self.config.on_success
        if mode in ("terminate", "bonus"):
            self.terminated |= succeeded
        elif mode == "bootstrap":
            self.truncated |= succeeded
        if mode == "bonus":
            bonus[succeeded] = self._value_of_holding(reward)[succeeded]
        out_of_time = self.episode_steps >= self.config.episode_length
        self.truncated |= running & out_of_time & ~self.terminated
        return bonus

    def _value_of_holding(self, reward: np.ndarray) -> np.ndarray:
        """Discounted return of earning `reward` (N,), without its success bonus, for ever after."""
        reward = reward - self.success_pay
        discount = self.config.discount
        return self.config.action_repeat * reward * discount / (1 - discount)


@functools.cache
def _tell_once() -> None:
    print(
        "the physics of an episode blew up (MuJoCo: unstable); it ends there, without value, and "
        "is counted as unstable; where there are many, lower env.scene.timestep or look at "
        "env.randomization.physical",
        file=sys.stderr,
    )


def sum_of_squares(x: np.ndarray) -> np.ndarray:
    """(N, k) -> (N,), added left to right so that a row's result does not depend on N."""
    total = np.zeros(len(x))
    for column in range(x.shape[1]):
        total += x[:, column] * x[:, column]
    return total


def norm(x: np.ndarray) -> np.ndarray:
    """Euclidean norm of rows, (N, k) -> (N,); see `sum_of_squares`."""
    return np.sqrt(sum_of_squares(x))
