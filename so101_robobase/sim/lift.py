"""The lift task on a batch of simulations: reset, control step, success, reward, diagnostics.

N episodes advance together and each owns its random generator, so an episode is the same bit for
bit whatever N, the number of threads and the other members do. Pictures are made elsewhere.
"""

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import Batch

from robobase.errors import UserError
from so101_robobase.clearance import Clearance
from so101_robobase.config import LiftConfig
from so101_robobase.control import make_controller
from so101_robobase.joints import NUM_JOINTS
from so101_robobase.kinematics import Kinematics
from so101_robobase.sim.curriculum import Curriculum
from so101_robobase.sim.interface import Interface
from so101_robobase.sim.looks import NEUTRAL, Look, draw_look
from so101_robobase.sim.rewards import (
    JAW_CLOSED,
    PLACED_HEIGHT,
    Reward,
    RewardSignals,
    jaw_excess,
)
from so101_robobase.sim.scene import (
    CUBE_POS,
    MOVING_FINGER_SENSOR,
    MOVING_PAD_GEOM,
    STATIC_FINGER_SENSOR,
    SUBSTEPS,
    TCP_SITE,
    build_scene,
)
from so101_robobase.sim.servos import CommandDelay
from so101_robobase.sim.sight import SIMULATED
from so101_robobase.sim.threads import usable_threads
from so101_robobase.sim.variation import Variation

CUBE_QUAT = slice(NUM_JOINTS + 3, NUM_JOINTS + 7)  # of a row of qpos, w x y z
CUBE_LINEAR_VELOCITY = slice(NUM_JOINTS, NUM_JOINTS + 3)  # of a row of qvel, m/s
JAW_OPEN = 0.3  # rad, v15 counts the steps beyond it (original project)
PLACED_RADIUS = 0.02  # m, v12 succeeds within it (original project)

_CURRENT = int(mujoco.mjtStage.mjSTAGE_VEL)  # positions, velocities and contacts of the new state
_BLOWN_UP = [
    int(mujoco.mjtWarning.mjWARN_BADQPOS),
    int(mujoco.mjtWarning.mjWARN_BADQVEL),
    int(mujoco.mjtWarning.mjWARN_BADQACC),
]
_RUNAWAY = 1e3  # rad/s or m/s: no arm moves so fast; MuJoCo itself gives up at 1e10 only
_COUNTERS = (
    "episode_steps",
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
)  # what an episode remembers beside its simulation, controller and generator


@dataclass
class StepResult:
    """Outcome of one policy step: `action_repeat` control steps, fewer where an episode ended."""

    reward: np.ndarray  # (N,) float64, summed over the control steps
    terminated: np.ndarray  # (N,) bool
    truncated: np.ndarray  # (N,) bool
    control_steps: np.ndarray  # (N,) int, how many were taken


class LiftTask:
    """N lift episodes on one `mujoco.batch.Batch`.

    `qpos` (N, 13), `qvel` (N, 12) and the counters below are live arrays; treat them as read-only.

    | attribute     | shape, type | meaning                                                    |
    |---------------|-------------|------------------------------------------------------------|
    | episode_steps | (N,) int    | control steps since the reset                              |
    | grasping      | (N,) bool   | both fingers touch the cube, the jaw is closed             |
    | lifted        | (N,) bool   | grasping, and the cube is above `lift_height`              |
    | hold_count    | (N,) int    | consecutive lifted control steps                           |
    | success       | (N,) bool   | success at the latest control step                         |
    | succeeded     | (N,) bool   | success at any control step of the episode                 |
    | unstable      | (N,) bool   | the physics blew up, which has ended the episode           |
    | stage         | (N,) int    | the stage that the episode started from                    |
    | max_cube_z    | (N,) float  | greatest height of the cube's centre in the episode, m     |
    | looks         | list of N   | how each episode looks; neutral unless randomised          |
    | sight_key     | (N,) int    | seeds the mistakes of the episode's sight; 0 if it makes none |
    | variation     | `Variation` | each episode's cube, friction, servos and joints           |
    | interface     | `Interface` | measured joints, delays: what policy and controller get    |

    Args:
        config: the task.
        num_envs: N, at least 1.
        num_threads: of physics; None takes `config.num_threads`. Results do not depend on it.
    """

    def __init__(self, config: LiftConfig, num_envs: int, num_threads: int | None = None):
        self.num_envs = num_envs
        self.scene = build_scene(config.scene)
        self.config = config = replace(config, scene=self.scene.config)
        model = self.scene.model
        threads = config.num_threads if num_threads is None else num_threads
        # One MjData per simulation, so that the forward pass after a step is the next step's first.
        self.batch = Batch(
            model, num_envs, min(threads or usable_threads(), num_envs), persistent=True
        )
        self.qpos = self.batch.bind("qpos")  # (N, 13)
        self.qvel = self.batch.bind("qvel")  # (N, 12)
        self._ctrl = self.batch.bind("ctrl")  # (N, 6)
        self._site_xpos = self.batch.bind("site_xpos")
        self._geom_xpos = self.batch.bind("geom_xpos")
        self._sensordata = self.batch.bind("sensordata")
        self._tcp = model.site(TCP_SITE).id
        self._moving_pad = model.geom(MOVING_PAD_GEOM).id
        self._fingers = [
            int(model.sensor(name).adr[0]) for name in (STATIC_FINGER_SENSOR, MOVING_FINGER_SENSOR)
        ]
        self.kinematics = Kinematics.from_model(model)
        joint_range = model.actuator_ctrlrange.copy()  # (6, 2)
        clearance = None if config.control.floor is None else Clearance(self.scene)
        self.controller = make_controller(
            config.control, self.kinematics, joint_range, num_envs, clearance
        )
        self.curriculum = Curriculum(config)
        physical = config.randomization.physical
        self.variation = Variation(physical, self.scene, self.batch)
        estimated = config.joint_velocity == "differences"
        tick = SUBSTEPS * config.scene.timestep if estimated else None
        self.interface = Interface(physical, self.variation.drawn, self.qpos, self.qvel, tick)
        self._delay = CommandDelay(num_envs, self.scene.servo_delay)
        self._physics: dict[str, Any] = {}  # what an episode remembers of physics that differs
        if physical.enabled:
            self._physics["variation"] = self.variation
        if physical.enabled or estimated:
            self._physics["interface"] = self.interface
        if self.scene.servo_delay:
            self._physics["servo_delay"] = self._delay
        self._visual = config.randomization.visual
        self.looks: list[Look] = [NEUTRAL] * num_envs
        self.sight_key = np.zeros(num_envs, np.int64)
        self._sight_is_worsened = config.corruption.enabled or config.sight.depth == SIMULATED
        self.reward = Reward(config.reward_version, config.lift_height)
        self.rngs = [np.random.default_rng() for _ in range(num_envs)]
        self._seeds: list[int | None] = [None] * num_envs  # of the episodes that begin next
        self.episode_steps = np.zeros(num_envs, np.int64)
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
        return self.controller.action_dim

    @property
    def joint_pos(self) -> np.ndarray:
        """True joint positions in `JOINTS` order, rad, (N, 6), live."""
        return self.qpos[:, :NUM_JOINTS]

    @property
    def joint_vel(self) -> np.ndarray:
        """True joint velocities in `JOINTS` order, rad/s, (N, 6), live."""
        return self.qvel[:, :NUM_JOINTS]

    @property
    def cube_pos(self) -> np.ndarray:
        """Position of the cube's centre, m, (N, 3), live."""
        return self.qpos[:, CUBE_POS]

    @property
    def cube_quat(self) -> np.ndarray:
        """Orientation of the cube, unit quaternion w x y z, (N, 4), live."""
        return self.qpos[:, CUBE_QUAT]

    @property
    def cube_half_size(self) -> np.ndarray:
        """Half the edge of the cube, m, (N,)."""
        return self.variation.cube_half_size

    @property
    def joint_target(self) -> np.ndarray:
        """Where the servos bring the true joints by what they were last told, rad, (N, 6)."""
        return self.interface.true_target(self.controller.target)

    @property
    def tcp_pos(self) -> np.ndarray:
        """Position of the tool centre point, m, (N, 3)."""
        return self._site_xpos[:, self._tcp]

    @property
    def tcp_to_cube(self) -> np.ndarray:
        """Distance from the tool centre point to the cube's centre, m, (N,)."""
        return _norm(self.cube_pos - self.tcp_pos)

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Member i's next episode is `seeds[i]` of this config's starts; None goes on drawing."""
        for i, seed in enumerate(seeds):
            if seed is not None:
                self._seeds[i] = seed = int(seed)
                self.rngs[i] = np.random.default_rng([*self.config.start_key, seed])

    def reset(self, ids: np.ndarray) -> None:
        """Start new episodes in the members `ids` (rising); no other member changes."""
        if len(ids) == 0:
            return
        cube_edge = np.zeros(len(ids))
        for k, i in enumerate(ids):
            start = self.curriculum.draw(self.rngs[i], self._seeds[i])
            self.stage[i], self.batch.state[i], cube_edge[k] = start
            self._seeds[i] = None
        if self._visual.enabled:
            for i in ids:
                self.looks[i] = draw_look(self._visual, self.rngs[i])
        if self._sight_is_worsened:
            self.sight_key[ids] = [self.rngs[i].integers(2**63) for i in ids]
        self.variation.redraw(ids, self.rngs, cube_edge)
        self.controller.reset(self.interface.begin(ids, self._ctrl[ids], self.rngs), ids)
        self._delay.fill(ids, self._ctrl[ids])
        self.batch.forward(ids, stage=_CURRENT)
        for counter in (self.episode_steps, self.hold_count, self.steps_open):
            counter[ids] = 0
        ended = self.terminated, self.truncated, self.unstable
        for flag in (self.succeeded, self.success, *ended):
            flag[ids] = False
        self.previous_action[ids] = np.nan
        self._look()
        self.max_cube_z[ids] = self.cube_pos[ids, 2]

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

    def drive(self, target: np.ndarray, substeps: int = SUBSTEPS) -> None:
        """Physics alone: servos told `target` (N, 6) rad for `substeps` of `scene.timestep`.

        For bodies that others drive (`robot.body`): `grasping` and `lifted` follow, counters,
        rewards, delays and the ends of episodes do not.

        Raises UserError where the physics blew up: MuJoCo then goes on from a pose of its own.
        """
        self._ctrl[:] = target
        self.batch.warning[:, _BLOWN_UP, 1] = 0
        self.batch.step(nstep=substeps, stage=_CURRENT)
        if self._blown_up().any():
            raise UserError(
                "the physics of the simulated arm blew up (MuJoCo: unstable); the servos of an "
                "alignment file may be too stiff for env.scene.timestep, or the cube too light"
            )
        self._look()

    def place_cube(self, position: np.ndarray, quaternion: np.ndarray) -> None:
        """Put the cubes at rest at `position` (N, 3) m and `quaternion` (N, 4); arms stay."""
        self.qpos[:, CUBE_POS], self.qpos[:, CUBE_QUAT] = position, quaternion
        self.qvel[:, NUM_JOINTS:] = 0
        self.batch.forward(stage=_CURRENT)
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
            "cube_z": self.cube_pos[:, 2].copy(),
            "max_cube_z": self.max_cube_z.copy(),
            "gripper_to_cube": self.tcp_to_cube,
            "jaw_angle": self.joint_pos[:, -1].copy(),
            "hold_count": self.hold_count.copy(),
            "episode_steps": self.episode_steps.copy(),
            "stage": self.stage.copy(),
        }

    def state_dict(self) -> dict[str, Any]:
        """All that later steps depend on, as plain containers and arrays."""
        return {
            "simulation": self.batch.state.copy(),
            "controller": self.controller.state_dict(),
            "rngs": [rng.bit_generator.state for rng in self.rngs],
            **({"looks": [look.to_dict() for look in self.looks]} if self._visual.enabled else {}),
            **({"sight_key": self.sight_key.copy()} if self._sight_is_worsened else {}),
            **{name: part.state_dict() for name, part in self._physics.items()},
            **{name: getattr(self, name).copy() for name in _COUNTERS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of a task with the same config and N, bit for bit."""
        self.batch.state[:] = state["simulation"]
        self.controller.load_state_dict(state["controller"])
        for name, part in self._physics.items():
            part.load_state_dict(state[name])
        if self._visual.enabled:
            self.looks = [Look.from_dict(look) for look in state["looks"]]
        if self._sight_is_worsened:
            self.sight_key[:] = state["sight_key"]
        for rng, rng_state in zip(self.rngs, state["rngs"], strict=True):
            rng.bit_generator.state = rng_state
        for name in _COUNTERS:
            getattr(self, name)[:] = state[name]
        self.batch.forward(stage=_CURRENT)

    def _control_step(self, action: np.ndarray, running: np.ndarray) -> np.ndarray:
        """20 ms of the `running` members (N,) bool; returns rewards (N,), valid where running."""
        target = self.controller(action, self.interface.joint_pos)
        sent = self.interface.send(target, running)
        self.batch.warning[:, _BLOWN_UP, 1] = 0  # MuJoCo counts from 1 after each of its resets
        for told, substeps in self._delay.send(sent, running, SUBSTEPS):
            self._ctrl[running] = told[running]
            self.batch.step(None if running.all() else running, nstep=substeps, stage=_CURRENT)
        self._end_unstable(running & self._blown_up())

        self.interface.advance(running, self.rngs)
        was_grasping = self.grasping.copy()
        self._look()
        self.hold_count[running] = np.where(self.lifted, self.hold_count + 1, 0)[running]
        is_open = self._jaw() > JAW_OPEN
        self.steps_open[running] = np.where(is_open, self.steps_open + 1, 0)[running]
        self.episode_steps += running
        sound = running & ~self.unstable
        self.max_cube_z[sound] = np.maximum(self.max_cube_z, self.cube_pos[:, 2])[sound]
        self.success[running] = (sound & self._succeeds())[running]
        self.succeeded |= self.success
        reward = self.reward(self._signals(action, was_grasping))
        self.previous_action[running] = action[running]
        reward += self._end_episodes(reward, running)
        reward[self.unstable] = 0
        return reward

    def _blown_up(self) -> np.ndarray:
        """Whose physics blew up since `batch.warning` was cleared, (N,) bool."""
        warned = self.batch.warning[:, _BLOWN_UP, 1].any(axis=1)
        return warned | ~(np.abs(self.qvel) < _RUNAWAY).all(axis=1)

    def _end_unstable(self, ids: np.ndarray) -> None:
        """End the episodes `ids` (N,) bool, whose physics blew up, at rest in the model's pose.

        That pose has nothing to do with the episode: it has no value, so this is no truncation,
        after which a learner would expect the value of what it sees last.
        """
        self.unstable |= ids
        self.terminated |= ids
        if not ids.any():
            return
        _tell_once()
        self.qpos[ids], self.qvel[ids] = self.scene.model.qpos0, 0
        self.batch.forward(np.flatnonzero(ids), stage=_CURRENT)

    def _look(self) -> None:
        """Grasp and lift of the present state; contacts come from the fingers' sensors."""
        touching = (self._sensordata[:, self._fingers] > 0).all(axis=1)
        self.grasping[:] = touching & (self._jaw() < JAW_CLOSED)
        self.lifted[:] = self.grasping & (self.cube_pos[:, 2] > self.config.lift_height)

    def _jaw(self) -> np.ndarray:
        """The jaw as it would be around a 3 cm cube, rad, (N,)."""
        return self.joint_pos[:, -1] - jaw_excess(self.cube_half_size)

    def _succeeds(self) -> np.ndarray:
        if self.config.place_target is None:
            return self.hold_count >= self.config.hold_steps
        on_table = self.cube_pos[:, 2] < PLACED_HEIGHT
        return on_table & ~self.grasping & (self._cube_to_target() < PLACED_RADIUS)

    def _cube_to_target(self) -> np.ndarray:
        return _norm(self.cube_pos[:, :2] - np.asarray(self.config.place_target))

    def _signals(self, action: np.ndarray, was_grasping: np.ndarray) -> RewardSignals:
        change = np.nan_to_num(action - self.previous_action)  # an episode's first action is none
        pad_to_cube = self.cube_pos - self._geom_xpos[:, self._moving_pad]
        return RewardSignals(
            tcp_to_cube=self.tcp_to_cube,
            cube_z=self.cube_pos[:, 2],
            grasping=self.grasping,
            was_grasping=was_grasping,
            # The published formula never met more: the original's episode ended on success.
            hold_count=np.minimum(self.hold_count, self.config.hold_steps),
            success=self.success,
            jaw_angle=self._jaw(),
            moving_pad_to_cube=_norm(pad_to_cube),
            action_change_sq=_sum_of_squares(change),
            steps_open=self.steps_open,
            cube_speed=_norm(self.qvel[:, CUBE_LINEAR_VELOCITY]),
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
