"""The lift: how an episode begins, what its steps earn, when it has succeeded, when it ends.

N episodes on N members of a `Simulation`; each is the same bit for bit whatever the others do.
"""

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robobase.errors import UserError
from so101_robobase.sim.scene import build_scene
from so101_robobase.sim.sight import draws_keys
from so101_robobase.sim.simulation import Simulation
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.rewards import (
    PLACED_HEIGHT,
    Reward,
    RewardSignals,
)
from so101_robobase.tasks.lift.starts import Curriculum

JAW_OPEN = 0.3  # rad, v15 counts the steps beyond it (original project)
PLACED_RADIUS = 0.02  # m, v12 succeeds within it (original project)

_COUNTERS = (
    "hold_count",
    "steps_open",
    "succeeded",
    "success",
    "grasping",
    "lifted",
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


class LiftTask:
    """N lift episodes.

    | attribute       | shape, type  | meaning                                                 |
    |-----------------|--------------|---------------------------------------------------------|
    | sim             | `Simulation` | arms and cubes                                          |
    | episode_steps   | (N,) int     | control steps since the reset                           |
    | grasping        | (N,) bool    | both fingers touch the cube, the jaw is closed          |
    | lifted          | (N,) bool    | grasping, and the cube is above `lift_height`           |
    | hold_count      | (N,) int     | consecutive lifted control steps                        |
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

    def __init__(self, config: LiftConfig, num_envs: int, num_threads: int | None = None):
        self.num_envs = num_envs
        scene = build_scene(config.scene)
        self.config = config = replace(config, scene=scene.config)
        self.sim = Simulation(
            scene,
            num_envs,
            config.control,
            config.randomization,
            estimates_velocity=config.joint_velocity == "differences",
            draws_sight_keys=draws_keys(config.sight, config.corruption),
            num_threads=config.num_threads if num_threads is None else num_threads,
        )
        self.curriculum = Curriculum(config)
        self.reward = Reward(config.reward_version, config.lift_height)
        self._seeds: list[int | None] = [None] * num_envs  # of the episodes that begin next
        self.episode_steps = self.sim.steps
        self.hold_count = np.zeros(num_envs, np.int64)
        self.steps_open = np.zeros(num_envs, np.int64)
        self.succeeded = np.zeros(num_envs, bool)
        self.success = np.zeros(num_envs, bool)
        self.grasping = np.zeros(num_envs, bool)
        self.lifted = np.zeros(num_envs, bool)
        self.terminated = np.zeros(num_envs, bool)
        self.truncated = np.zeros(num_envs, bool)
        self.unstable = np.zeros(num_envs, bool)
        self.stage = np.zeros(num_envs, np.int64)
        self.max_cube_z = np.zeros(num_envs)
        self.previous_action = np.full((num_envs, self.action_dim), np.nan)

    @property
    def action_dim(self) -> int:
        """Numbers in one action, each in [-1, 1]."""
        return self.sim.controller.action_dim

    @property
    def tcp_to_cube(self) -> np.ndarray:
        """Distance from the tool centre point to the cube's centre, m, (N,)."""
        return _norm(self.sim.cube_pos - self.sim.tcp_pos)

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Member i's next episode is `seeds[i]` of this config's starts; None goes on drawing."""
        for i, seed in enumerate(seeds):
            if seed is not None:
                self._seeds[i] = seed = int(seed)
                self.sim.rngs[i] = np.random.default_rng([*self.config.start_key, seed])

    def reset(self, ids: np.ndarray) -> None:
        """Start new episodes in the members `ids` (rising); no other member changes."""
        if len(ids) == 0:
            return
        starts = [self.curriculum.draw(self.sim.rngs[i], self._seeds[i]) for i in ids]
        for i, start in zip(ids, starts, strict=True):
            self.stage[i] = start.stage
            self._seeds[i] = None
        self.sim.begin(
            ids,
            np.array([start.state for start in starts]),
            np.array([start.cube_edge for start in starts]),
        )
        for counter in (self.hold_count, self.steps_open):
            counter[ids] = 0
        ended = self.terminated, self.truncated, self.unstable
        for flag in (self.succeeded, self.success, *ended):
            flag[ids] = False
        self.previous_action[ids] = np.nan
        self._look()
        self.max_cube_z[ids] = self.sim.cube_pos[ids, 2]

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

    def drive(self, target: np.ndarray, substeps: int) -> None:
        """`Simulation.drive`; `grasping` and `lifted` follow, counters and rewards do not."""
        self.sim.drive(target, substeps)
        self._look()

    def place_cube(self, position: np.ndarray, quaternion: np.ndarray) -> None:
        """`Simulation.place_cube`; `grasping` and `lifted` follow."""
        self.sim.place_cube(position, quaternion)
        self._look()

    def info(self) -> dict[str, np.ndarray]:
        """What evaluations and logs want to know about every member, each (N,).

        | key             | type    | meaning                                          |
        |-----------------|---------|--------------------------------------------------|
        | task_success    | float64 | 1 once the episode has succeeded, else 0         |
        | is_success      | bool    | success at the latest control step               |
        | is_grasping     | bool    | both fingers touch the cube, the jaw is closed   |
        | is_lifted       | bool    | grasped above `lift_height`                      |
        | unstable        | bool    | the physics blew up, which has ended the episode |
        | cube_z          | float64 | height of the cube's centre, m                   |
        | max_cube_z      | float64 | its greatest value in the episode, m             |
        | gripper_to_cube | float64 | tool centre point to cube centre, m              |
        | jaw_angle       | float64 | position of the gripper joint, rad               |
        | hold_count      | int64   | consecutive lifted control steps                 |
        | episode_steps   | int64   | control steps since the reset                    |
        | stage           | int64   | stage that the episode started from              |
        """
        return {
            "task_success": self.succeeded.astype(np.float64),
            "is_success": self.success.copy(),
            "is_grasping": self.grasping.copy(),
            "is_lifted": self.lifted.copy(),
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
        counters = {name: getattr(self, name).copy() for name in _COUNTERS}
        return {**self.sim.state_dict(), **counters}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of a task with the same config and N, bit for bit."""
        self.sim.load_state_dict(state)
        for name in _COUNTERS:
            getattr(self, name)[:] = state[name]

    def _control_step(self, action: np.ndarray, running: np.ndarray) -> np.ndarray:
        """20 ms of the `running` members (N,) bool; returns rewards (N,), valid where running."""
        self._end_unstable(self.sim.advance(action, running))
        was_grasping = self.grasping.copy()
        self._look()
        self.hold_count[running] = np.where(self.lifted, self.hold_count + 1, 0)[running]
        is_open = self._jaw() > JAW_OPEN
        self.steps_open[running] = np.where(is_open, self.steps_open + 1, 0)[running]
        sound = running & ~self.unstable
        self.max_cube_z[sound] = np.maximum(self.max_cube_z, self.sim.cube_pos[:, 2])[sound]
        self.success[running] = (sound & self._succeeds())[running]
        self.succeeded |= self.success
        reward = self.reward(self._signals(action, was_grasping))
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

    def _look(self) -> None:
        """Grasp and lift of the present state."""
        closed = self._jaw() < self.sim.scene.arm.jaw_closed
        self.grasping[:] = self.sim.touching.all(axis=1) & closed
        self.lifted[:] = self.grasping & (self.sim.cube_pos[:, 2] > self.config.lift_height)

    def _jaw(self) -> np.ndarray:
        """The jaw as it would be around a 3 cm cube, rad, (N,)."""
        return self.sim.joint_pos[:, -1] - self.sim.scene.arm.jaw_excess(self.sim.cube_half_size)

    def _succeeds(self) -> np.ndarray:
        if self.config.place_target is None:
            return self.hold_count >= self.config.hold_steps
        on_table = self.sim.cube_pos[:, 2] < PLACED_HEIGHT
        return on_table & ~self.grasping & (self._cube_to_target() < PLACED_RADIUS)

    def _cube_to_target(self) -> np.ndarray:
        return _norm(self.sim.cube_pos[:, :2] - np.asarray(self.config.place_target))

    def _signals(self, action: np.ndarray, was_grasping: np.ndarray) -> RewardSignals:
        sim = self.sim
        change = np.nan_to_num(action - self.previous_action)  # an episode's first action is none
        return RewardSignals(
            tcp_to_cube=self.tcp_to_cube,
            cube_z=sim.cube_pos[:, 2],
            grasping=self.grasping,
            was_grasping=was_grasping,
            # The published formula never met more: the original's episode ended on success.
            hold_count=np.minimum(self.hold_count, self.config.hold_steps),
            success=self.success,
            jaw_angle=self._jaw(),
            moving_pad_to_cube=_norm(sim.cube_pos - sim.moving_pad_pos),
            action_change_sq=_sum_of_squares(change),
            steps_open=self.steps_open,
            cube_speed=_norm(sim.cube_velocity),
            cube_to_target=None if self.config.place_target is None else self._cube_to_target(),
        )

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
        reward = reward - self.reward.weights.get("success", 0.0)
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


def _sum_of_squares(x: np.ndarray) -> np.ndarray:
    """(N, k) -> (N,), added left to right so that a row's result does not depend on N."""
    total = np.zeros(len(x))
    for column in range(x.shape[1]):
        total += x[:, column] * x[:, column]
    return total


def _norm(x: np.ndarray) -> np.ndarray:
    return np.sqrt(_sum_of_squares(x))
