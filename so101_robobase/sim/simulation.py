"""N arms, each before a table with a cube, in one physics engine; nothing here is a task.

The members advance together and each owns its random generator, so that a member is the same bit
for bit whatever N, the number of threads and the other members do. Pictures are made elsewhere.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.clearance import Clearance
from so101_robobase.arm.control import CONTROL_PERIOD, ControlConfig, make_controller
from so101_robobase.arm.kinematics import Kinematics
from so101_robobase.arm.servos import CommandDelay
from so101_robobase.sim.engine import Engine
from so101_robobase.sim.interface import Interface
from so101_robobase.sim.looks import NEUTRAL, Look, draw_look
from so101_robobase.sim.randomization import RandomizationConfig
from so101_robobase.sim.scene import (
    Scene,
)
from so101_robobase.sim.variation import Variation


class View(NamedTuple):
    """What a `Renderer` draws of n members."""

    qpos: np.ndarray  # (n, J + 7)
    looks: list[Look] | None
    cube_half_size: np.ndarray | None  # (n,) m


class Simulation:
    """N members of `scene` in one `Engine`; live arrays are to be read only.

    | attribute   | shape, type | meaning                                                       |
    |-------------|-------------|---------------------------------------------------------------|
    | qpos        | (N, nq)     | joints rad, cube: position m and quaternion, marks m, live    |
    | qvel        | (N, nv)     | their velocities, live                                        |
    | steps       | (N,) int    | control steps since the member began                          |
    | looks       | list of N   | how each member looks; neutral unless randomised              |
    | sight_key   | (N,) int    | seeds the mistakes of the member's sight; 0 if it makes none  |
    | rngs        | list of N   | generators of all that is drawn for a member                  |
    | engine      | `Engine`    | their physics                                                 |
    | variation   | `Variation` | each member's cube, friction, servos and joints               |
    | interface   | `Interface` | measured joints, delays: what policy and controller get       |
    | controller  | `Controller`| turns actions into joint targets                              |
    | kinematics  | `Kinematics`| of the arm                                                    |

    Args:
        scene: what is simulated.
        num_envs: N, at least 1.
        control: what actions mean.
        randomization: how members differ.
        estimates_velocity: joint velocities are differences of measured positions, as on the arm.
        draws_sight_keys: members' sight makes mistakes, whose seeds are drawn.
        num_threads: of physics; 0 takes all cores. Results do not depend on it.
    """

    def __init__(
        self,
        scene: Scene,
        num_envs: int,
        control: ControlConfig,
        randomization: RandomizationConfig,
        estimates_velocity: bool = False,
        draws_sight_keys: bool = False,
        num_threads: int = 0,
    ):
        self.scene, self.num_envs, self.randomization = scene, num_envs, randomization
        self.engine = Engine(scene, num_envs, num_threads)
        self.qpos, self.qvel = self.engine.qpos, self.engine.qvel
        self._joints = slice(scene.arm.num_joints)
        self.kinematics = Kinematics.from_model(scene.model, scene.arm)
        joint_range = scene.model.actuator_ctrlrange.copy()  # (J, 2)
        clearance = None if control.floor is None else Clearance(scene.model, scene.arm)
        self.controller = make_controller(
            control, self.kinematics, joint_range, num_envs, clearance
        )
        physical = randomization.physical
        self.variation = Variation(physical, self.engine)
        tick = CONTROL_PERIOD if estimates_velocity else None
        self.interface = Interface(physical, self.variation.drawn, self.qpos, self.qvel, tick)
        self._delay = CommandDelay(num_envs, scene.servo_delay, self._joints.stop)
        self._physics: dict[str, Any] = {}  # what a member remembers of physics that differs
        if physical.enabled:
            self._physics["variation"] = self.variation
        if physical.enabled or estimates_velocity:
            self._physics["interface"] = self.interface
        if scene.servo_delay:
            self._physics["servo_delay"] = self._delay
        self.looks: list[Look] = [NEUTRAL] * num_envs
        self.sight_key = np.zeros(num_envs, np.int64)
        self._draws_sight_keys = draws_sight_keys
        self.rngs = [np.random.default_rng() for _ in range(num_envs)]
        self.steps = np.zeros(num_envs, np.int64)

    @property
    def joint_pos(self) -> np.ndarray:
        """True joint positions in the arm's order, rad, (N, J), live."""
        return self.qpos[:, self._joints]

    @property
    def joint_vel(self) -> np.ndarray:
        """True joint velocities in the arm's order, rad/s, (N, J), live."""
        return self.qvel[:, self._joints]

    @property
    def joint_target(self) -> np.ndarray:
        """Where the servos bring the true joints by what they were last told, rad, (N, J)."""
        return self.interface.true_target(self.controller.target)

    @property
    def cube_pos(self) -> np.ndarray:
        """Position of the cube's centre, m, (N, 3), live."""
        return self.qpos[:, self.scene.cube_pos]

    @property
    def cube_quat(self) -> np.ndarray:
        """Orientation of the cube, unit quaternion w x y z, (N, 4), live."""
        return self.qpos[:, self.scene.cube_quat]

    @property
    def mark_pos(self) -> np.ndarray:
        """Where the marks of the scene lie, m, (N, marks, 2), live."""
        return self.qpos[:, self.scene.cube_quat.stop :].reshape(self.num_envs, -1, 2)

    @property
    def cube_velocity(self) -> np.ndarray:
        """Velocity of the cube's centre, m/s, (N, 3), live."""
        return self.qvel[:, self._joints.stop : self._joints.stop + 3]

    @property
    def cube_half_size(self) -> np.ndarray:
        """Half the edge of the cube, m, (N,)."""
        return self.variation.cube_half_size

    @property
    def tcp_pos(self) -> np.ndarray:
        """Position of the tool centre point, m, (N, 3)."""
        return self.engine.tcp_pos

    @property
    def moving_pad_pos(self) -> np.ndarray:
        """Position of the moving finger's pad, m, (N, 3)."""
        return self.engine.moving_pad_pos

    @property
    def touching(self) -> np.ndarray:
        """Whether the static and the moving finger touch the cube, (N, 2) bool."""
        return self.engine.touching

    def view(self, rows: np.ndarray) -> View:
        """What the cameras of the members `rows` (n,) look at; None where it is as in the scene."""
        varied = self.randomization
        return View(
            self.interface.seen_qpos[rows],
            [self.looks[row] for row in rows] if varied.visual.enabled else None,
            self.cube_half_size[rows] if varied.physical.enabled else None,
        )

    def begin(self, ids: np.ndarray, states: np.ndarray, cube_edge: np.ndarray) -> None:
        """Start the members `ids` (n,), rising, anew; no other member changes.

        Args:
            states: (n, nstate), rows of `Engine.state`, arms at rest.
            cube_edge: (n,) m, of the cubes in them; read where physics is randomised.
        """
        self.engine.state[ids] = states
        if self.randomization.visual.enabled:
            for i in ids:
                self.looks[i] = draw_look(self.randomization.visual, self.rngs[i])
        if self._draws_sight_keys:
            self.sight_key[ids] = [self.rngs[i].integers(2**63) for i in ids]
        self.variation.redraw(ids, self.rngs, cube_edge)
        self.controller.reset(self.interface.begin(ids, self.engine.ctrl[ids], self.rngs), ids)
        self._delay.fill(ids, self.engine.ctrl[ids])
        self.engine.forward(ids)
        self.steps[ids] = 0

    def advance(self, action: np.ndarray, running: np.ndarray) -> np.ndarray:
        """One control step of the `running` members (N,) bool under `action` (N, A).

        Returns whose physics blew up, (N,) bool; MuJoCo goes on from a pose of its own there
        (`rest`).
        """
        target = self.controller(action, self.interface.joint_pos)
        sent = self.interface.send(target, running)
        self.engine.clear_warnings()
        for told, substeps in self._delay.send(sent, running, self.scene.config.substeps):
            self.engine.ctrl[running] = told[running]
            self.engine.step(substeps, running)
        blown_up = running & self.engine.blown_up()
        self.rest(blown_up)
        self.interface.advance(running, self.rngs)
        self.steps += running
        return blown_up

    def drive(self, target: np.ndarray, substeps: int) -> None:
        """Physics alone: servos told `target` (N, J) rad for `substeps` of `scene.timestep`.

        For arms that others control; `steps`, measurements and delays do not follow.

        Raises UserError where the physics blew up: MuJoCo then goes on from a pose of its own.
        """
        self.engine.ctrl[:] = target
        self.engine.clear_warnings()
        self.engine.step(substeps)
        if self.engine.blown_up().any():
            raise UserError(
                "the physics of the simulated arm blew up (MuJoCo: unstable); the servos of an "
                "alignment file may be too stiff for env.scene.timestep, or the cube too light"
            )

    def put(self, things: np.ndarray) -> None:
        """Put cubes and marks at rest as in `things` (N, nq - joints), of `qpos`; arms stay."""
        self.qpos[:, self._joints.stop :] = things
        self.qvel[:, self._joints.stop :] = 0
        self.engine.forward()

    def rest(self, ids: np.ndarray) -> None:
        """Put the members `ids` (N,) bool at rest in the model's own pose."""
        if ids.any():
            self.qpos[ids], self.qvel[ids] = self.scene.model.qpos0, 0
            self.engine.forward(np.flatnonzero(ids))

    def state_dict(self) -> dict[str, Any]:
        """All that later steps depend on, as plain containers and arrays."""
        looks = [look.to_dict() for look in self.looks]
        return {
            "simulation": self.engine.state.copy(),
            "controller": self.controller.state_dict(),
            "rngs": [rng.bit_generator.state for rng in self.rngs],
            **({"looks": looks} if self.randomization.visual.enabled else {}),
            **({"sight_key": self.sight_key.copy()} if self._draws_sight_keys else {}),
            **{name: part.state_dict() for name, part in self._physics.items()},
            "episode_steps": self.steps.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()` of a simulation of the same settings and N, bit for bit."""
        self.engine.state[:] = state["simulation"]
        self.controller.load_state_dict(state["controller"])
        for name, part in self._physics.items():
            part.load_state_dict(state[name])
        if self.randomization.visual.enabled:
            self.looks = [Look.from_dict(look) for look in state["looks"]]
        if self._draws_sight_keys:
            self.sight_key[:] = state["sight_key"]
        for rng, rng_state in zip(self.rngs, state["rngs"], strict=True):
            rng.bit_generator.state = rng_state
        self.steps[:] = state["episode_steps"]
        self.engine.forward()
