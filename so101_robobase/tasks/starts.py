"""Start states of stages 0 to 4: solved by inverse kinematics, settled once, drawn from a bank.

A bank is a fixed set of states for one scene. Which one an episode of training starts from is the
episode's own random draw, so a reset costs microseconds and touches one simulation. Evaluations
and demonstrations have a state of its own for every seed, from banks made as they are needed.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.kinematics import Kinematics, rotation_error, yaw_rotation
from so101_robobase.arm.model import ArmModel, describe
from so101_robobase.sim.engine import Engine
from so101_robobase.sim.marks import Mark
from so101_robobase.sim.scene import (
    Scene,
    SceneConfig,
    build_scene,
)
from so101_robobase.sim.simulation import Simulation
from so101_robobase.tasks.config import TaskConfig

CUBE_HOME = (0.25, 0.0)  # m, middle of the cube positions of stages 1 to 4
ABOVE = 0.035  # m, stage 3: TCP over the cube's centre
FAR = (0.08, 0.12)  # m, stage 4: distance in the plane
FAR_CLEARANCE = 0.02  # m, stage 4: TCP over the lift height
BESIDE = 0.015  # m, static finger's side: TCP from the cube's centre while the jaw is open
GRASP_DEPTH = 0.005  # m, TCP over the cube's centre when grasping
HELD_MARGIN = 0.005  # m, stage 1 holds the cube this far above the lift height
SQUEEZE = 0.1  # rad, jaw target beyond the jaw while it holds the cube
HEADING = np.pi / 2  # rad, fingers to the left and right of the cube, along its faces

BANK_SIZE = 64  # states
_SHARED_BANKS = {0: 2, 1: 1, 2: 1, 3: 4, 4: 4}  # that training draws from, by stage
_CANDIDATES = 2  # drawn per state wanted: some poses are out of reach, some grasps slip
_ROUNDS = 10  # of candidates, until there are as many states as wanted
_SETTLE = 10  # control steps until the arm hangs still
_CLOSE = 20  # control steps in which the jaw closes
_LIFT = 40  # control steps from the table to the lift height
_TOLERANCE = (0.003, 0.05)  # m, rad: what inverse kinematics must reach
_SEED = 101


class Start(NamedTuple):
    """Where one episode begins."""

    stage: int
    state: np.ndarray  # (nstate,), a row of `Engine.state`, time 0
    cube_edge: float  # m, of the cube that lies or is held in it


class Bank(NamedTuple):
    """Start states of one stage; both arrays are read-only."""

    states: np.ndarray  # (K, nstate), rows of `Engine.state`, time 0
    cube_edge: np.ndarray  # (K,) m


class Starts:
    """Where the episodes of N members begin: states drawn from the stages of `config`.

    Banks are built when first needed. Where physics is randomised, their states were simulated
    with cubes of different sizes, so that a held cube fits between the fingers; the episode's
    cube is the state's.

    Args:
        config: the task.
        sim: its members; their random generators draw.
    """

    def __init__(self, config: TaskConfig, sim: Simulation):
        self.config, self._sim = config, sim
        self._seeds: list[int | None] = [None] * sim.num_envs  # of the episodes that begin next
        physical = config.randomization.physical
        self._cube_edge = physical.cube_edge if physical.enabled else None
        self._stages = [stage for stage, _ in config.stage_weights]
        self._cumulative = np.cumsum([weight for _, weight in config.stage_weights])
        self._num_joints = describe(config.scene.arm).num_joints
        self._has_own = config.starts != "training"

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Member i's next episode is `seeds[i]` of this config's starts; None goes on drawing."""
        for i, seed in enumerate(seeds):
            if seed is not None:
                self._seeds[i] = seed = int(seed)
                self._sim.rngs[i] = np.random.default_rng([*self.config.start_key, seed])

    def begin(self, ids: np.ndarray) -> np.ndarray:
        """Start episodes in the members `ids` (n,), rising; returns their stages (n,)."""
        starts = [self.draw(self._sim.rngs[i], self._seeds[i]) for i in ids]
        for i in ids:
            self._seeds[i] = None
        self._sim.begin(
            ids,
            np.array([start.state for start in starts]),
            np.array([start.cube_edge for start in starts]),
        )
        return np.array([start.stage for start in starts])

    def draw(self, rng: np.random.Generator, seed: int | None = None) -> Start:
        """The start of one episode.

        Args:
            seed: what the episode was reset with. Outside of training it alone decides the state,
                and no other seed has it; None, or in training, `rng` draws one of the first banks.
        """
        choice = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        stage = self._stages[min(choice, len(self._stages) - 1)]  # the sum may fall short of 1
        if seed is not None and self._has_own:
            number, k = divmod(seed, BANK_SIZE)
            states, edges = self._bank(stage, _SHARED_BANKS[stage] + number)
            k %= len(states)
        else:
            states, edges = self._bank(stage, int(rng.integers(_SHARED_BANKS[stage])))
            k = int(rng.integers(len(states)))
        state = states[k].copy()
        if stage == 0:
            self._place_cube(state, rng)
        self.arrange(state[1:], rng)
        return Start(stage, state, float(edges[k]))

    def arrange(self, qpos: np.ndarray, rng: np.random.Generator) -> None:
        """Change a drawn start in place: what a task puts elsewhere in every episode.

        `qpos`: as of `Simulation`, and more behind it.
        """

    def _bank(self, stage: int, number: int) -> Bank:
        config = self.config
        key = (*config.start_key, number)
        return bank(
            config.scene,
            stage,
            config.cube_jitter,
            config.carry_height,
            self._cube_edge,
            key,
            config.marks,
        )

    def _place_cube(self, state: np.ndarray, rng: np.random.Generator) -> None:
        """Put the cube of `state` anywhere in the box, lying flat as it does, with any heading."""
        box = self.config.cube_box
        cube = state[1 + self._num_joints :]  # a row of states begins with the time, then qpos
        cube[0], cube[1] = rng.uniform(*box.x), rng.uniform(*box.y)
        yaw = rng.uniform(-np.pi, np.pi)
        cube[3:7] = np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)


@lru_cache(maxsize=64)
def bank(
    scene: SceneConfig,
    stage: int,
    cube_jitter: float,
    carry_height: float,
    cube_edge: tuple[float, float] | None = None,
    key: tuple[int, ...] = (0, 0, 0),
    marks: tuple[Mark, ...] = (),
) -> Bank:
    """`BANK_SIZE` start states of one stage, the same at every call; fewer where few are reached.

    Args:
        cube_edge: range of the cubes' edges, m; None: all have the scene's.
        key: banks of different keys have no state in common.

    Raises:
        UserError: the arm of `scene` reaches none of them.
    """
    rng = np.random.default_rng([_SEED, stage, *key])
    made: list[Bank] = []
    for _ in range(_ROUNDS):
        wanted = BANK_SIZE - sum(len(part.states) for part in made)
        if wanted <= 0:
            break
        half_size = _half_sizes(rng, scene, cube_edge, wanted * _CANDIDATES)
        cube = _cube_positions(rng, cube_jitter, half_size)
        wider = half_size - scene.cube_half_size
        tcp = _tcp_positions(rng, describe(scene.arm), stage, cube, carry_height, wider)
        made.append(
            _states(build_scene(scene, marks), stage, carry_height, tcp, cube, half_size, wanted)
        )
    result = Bank(*(np.concatenate(parts) for parts in zip(*made, strict=True)))
    for array in result:
        array.flags.writeable = False
    return result


def _states(
    scene: Scene,
    stage: int,
    carry_height: float,
    tcp: np.ndarray,
    cube: np.ndarray,
    half_size: np.ndarray,
    wanted: int,
) -> Bank:
    """At most `wanted` settled states of the candidates that are reached and hold their cube."""
    kinematics = Kinematics.from_model(scene.model, scene.arm)
    arm, reaches = _arm_poses(kinematics, tcp, point_down=stage in (1, 2, 3))
    reached = np.flatnonzero(reaches)[:wanted]
    if len(reached) == 0:
        raise UserError(
            f"stage={stage} starts where this arm cannot reach; check env.lift_height and env.scene"
        )
    states = _Simulations(scene, kinematics, arm[reached], cube[reached])
    if (half_size != scene.config.cube_half_size).any():
        states.resize_cubes(half_size[reached])
    states.settle()
    if stage in (1, 2):
        states.grasp()
    if stage == 1:
        states.lift(carry_height)
    if len(states.valid) == 0:
        raise UserError(f"stage={stage} needs a cube that the gripper can hold; check env.scene")
    return Bank(states.result(states.valid), 2 * half_size[reached][states.valid])


def _half_sizes(
    rng: np.random.Generator, scene: SceneConfig, cube_edge: tuple[float, float] | None, count: int
) -> np.ndarray:
    """Half the edges of cubes, (count,) m: the scene's, or spread over the range `cube_edge`."""
    if cube_edge is None:
        return np.full(count, scene.cube_half_size)
    return rng.uniform(*cube_edge, count) / 2


def _cube_positions(rng: np.random.Generator, jitter: float, half_size: np.ndarray) -> np.ndarray:
    """Centres of cubes that lie on the table near `CUBE_HOME`, (count, 3) m."""
    cube = np.tile(half_size[:, None], 3)
    cube[:, :2] = CUBE_HOME + rng.uniform(-jitter, jitter, (len(cube), 2))
    return cube


def _tcp_positions(
    rng: np.random.Generator,
    arm: ArmModel,
    stage: int,
    cube: np.ndarray,
    carry_height: float,
    wider: np.ndarray,
) -> np.ndarray:
    """Where the tool centre points of a stage begin, (count, 3) m.

    `wider` (count,) m: by how much half an edge of each cube exceeds the scene's.
    """
    if stage == 0:
        tcp = np.empty_like(cube)
        tcp[:, :2] = arm.ready_tcp
        tcp[:, 2] = rng.uniform(*arm.ready_height, len(cube))
    elif stage == 4:
        tcp = cube.copy()
        angle = rng.uniform(-np.pi, np.pi, len(cube))
        distance = rng.uniform(*FAR, len(cube))
        tcp[:, 0] += distance * np.cos(angle)
        tcp[:, 1] += distance * np.sin(angle)
        tcp[:, 2] = carry_height + FAR_CLEARANCE
    else:
        tcp = cube + np.array([0, -BESIDE, ABOVE if stage == 3 else GRASP_DEPTH])
        tcp[:, 1] -= wider
    return tcp


def _arm_poses(
    kinematics: Kinematics, tcp: np.ndarray, point_down: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Joints (count, J - 1) rad for tool centre points (count, 3), and which are reached (count,).

    High above the table the arm cannot point straight down; there the wrist stays at 90 degrees
    and the first three joints bring the tool centre point to its place. An arm that cannot turn
    its gripper has whatever heading they give it.
    """
    model = kinematics.arm
    seed = np.tile(model.each("folded")[:-1], (len(tcp), 1))
    if not point_down:
        free = tuple(joint < 3 for joint in range(seed.shape[1]))
        arm = kinematics.solve(tcp, seed, iterations=100, free=free)
        position, _ = kinematics.forward(arm)
        return arm, np.abs(position - tcp).max(axis=1) < _TOLERANCE[0]
    down = yaw_rotation(np.full(len(tcp), HEADING))
    turns = np.array([1, 1, model.roll_index is not None])
    arm = kinematics.solve(tcp, seed, down, orientation_weight=tuple(0.1 * turns), iterations=100)
    position, rotation = kinematics.forward(arm)
    near = np.abs(position - tcp).max(axis=1) < _TOLERANCE[0]
    lean = np.abs(turns * rotation_error(rotation, down)).max(axis=1)
    return arm, near & (lean < _TOLERANCE[1])


class _Simulations:
    """Arms that hang still with an open jaw, cubes that lie still; then they may grasp and lift."""

    def __init__(self, scene: Scene, kinematics: Kinematics, arm: np.ndarray, cube: np.ndarray):
        self._kinematics, self._arm = kinematics, scene.arm
        self._joints, self._cube = slice(scene.arm.num_joints), scene.cube_pos
        self._engine = engine = Engine(scene, len(arm))
        self._qpos, self._ctrl = engine.qpos, engine.ctrl
        self._half_size = np.full(len(arm), scene.config.cube_half_size)
        self._valid = np.ones(len(arm), bool)
        self._ctrl[:, :-1] = arm
        self._ctrl[:, -1] = scene.arm.jaw_wide
        self._qpos[:, self._joints] = self._ctrl
        self._qpos[:, self._cube] = cube

    def resize_cubes(self, half_size: np.ndarray) -> None:
        """Half the edge of every simulation's cube, (N,) m."""
        self._half_size = half_size
        mass = np.full(len(half_size), self._engine.scene.config.cube_mass)
        self._engine.resize_cubes(np.arange(len(half_size)), half_size, mass)

    def settle(self) -> None:
        """Let the arm hang still and the cube come to rest."""
        self._simulate(_SETTLE)

    def grasp(self) -> None:
        """Close the jaw on the cube where it lies."""
        for k in range(_CLOSE):
            self._ctrl[:, -1] = self._arm.jaw_wide * (1 - (k + 1) / _CLOSE)
            self._simulate(1)
        self._ctrl[:, -1] = self._qpos[:, self._joints][:, -1] - SQUEEZE
        self._simulate(_SETTLE)
        self._keep_grasped()

    def lift(self, carry_height: float) -> None:
        """Straight up with the cube, to just above the lift height."""
        tcp, _ = self._kinematics.forward(self._qpos[:, self._joints])
        low = tcp[:, 2].copy()
        rise = carry_height + HELD_MARGIN - self._qpos[:, self._cube][:, 2]
        for k in range(_LIFT):
            tcp[:, 2] = low + rise * (k + 1) / _LIFT
            self._ctrl[:, :-1] = self._kinematics.solve(tcp, self._ctrl, iterations=3)
            self._simulate(1)
        self._simulate(_SETTLE)
        self._keep_grasped()
        self._valid &= self._qpos[:, self._cube][:, 2] > carry_height

    @property
    def valid(self) -> np.ndarray:
        """Simulations in which nothing was lost, (K,) rising."""
        return np.flatnonzero(self._valid)

    def result(self, ids: np.ndarray) -> np.ndarray:
        """States of the simulations `ids`, (K, nstate), at time 0."""
        states = self._engine.state[ids]
        states[:, 0] = 0  # time
        return states

    def _simulate(self, control_steps: int) -> None:
        self._engine.step(control_steps * self._engine.scene.config.substeps)

    def _keep_grasped(self) -> None:
        touching = self._engine.touching.all(axis=1)
        jaw = self._qpos[:, self._joints][:, -1] - self._arm.jaw_excess(self._half_size)
        self._valid &= touching & (jaw < self._arm.jaw_closed)
