"""Which arm and cube poses are worth a picture: what a policy meets while it learns and works.

A pool of states is simulated once per dataset: start states of all stages, and what follows when
the scripted pick acts through noise, from hardly any to so much that the arm roams about and the
cube is pushed, dropped or lost from view. A picture takes one state of the pool and changes it
without physics, so that no two pictures are alike.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np
from tqdm import tqdm

from robobase.errors import UserError
from robobase.reading import MIB, read_npz
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.base.files import written_whole
from so101_robobase.sim.randomization import PhysicalRandomization, RandomizationConfig
from so101_robobase.sim.scene import CUBE, Scene
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask
from so101_robobase.tasks.lift.teacher import LiftTeacher

POOL_SIZE = 4096
STAGES = {0: 0.35, 1: 0.1, 2: 0.1, 3: 0.2, 4: 0.25}
"""Shares of the episodes by the stage that they start from."""

NOISE = (0.1, 0.2, 0.4, 0.8)
"""Standard deviations of the noise on the pick's actions; arm i has NOISE[i % 4]."""

PLACED_ANEW = 0.4
"""Share of the free cubes that are put elsewhere, at most `PLACE_REACH` m from the gripper in
either direction: about what the camera sees of the table."""
PLACE_REACH = 0.12

_NOISE_MEMORY = 0.9  # of a step's noise that the next one keeps: the arm strays, not trembles
_NUM_ARMS = 64
_EVERY = 3  # policy steps between states that are kept
_EPISODE_LENGTH = 160  # control steps; a pick takes about 100
_JOINT_JITTER = 0.03  # rad, standard deviation
_ROAMING = (0.15, 0.25)  # share of the pictures with this jitter instead, rad: of other directions
_OVERLAP = 0.002  # m that nobody sees
_ATTEMPTS = 10
_MOST_BYTES = 64 * MIB  # of a pool's file; 4096 states take half a MiB
_NUM_QPOS = NUM_JOINTS + 7
_FURTHEST = 100.0  # m or rad, of any state
_HALF_SIZE = 0.1  # m; a cube is at most twice as large
_POS = slice(NUM_JOINTS, NUM_JOINTS + 3)
_QUAT = slice(NUM_JOINTS + 3, NUM_JOINTS + 7)


@dataclass(frozen=True)
class Pool:
    """K states that simulations went through."""

    qpos: np.ndarray = field(repr=False)  # (K, 13) rad, m, as in `sim.scene.Scene`
    cube_half_size: np.ndarray = field(repr=False)  # (K,) m

    def save(self, path: Path, label: str) -> None:
        """Write a .npz file; `label` says what the pool was simulated for."""
        with written_whole(path) as temporary:
            np.savez(temporary, label=label, **vars(self))

    @classmethod
    def load(cls, path: Path, label: str) -> "Pool | None":
        """The pool that was saved with `label`; None if there is none, or one of another label."""
        if not path.exists():
            return None
        remedy = "delete it and it is made anew"
        arrays = read_npz(path, _MOST_BYTES, "pool", remedy)
        if str(arrays.get("label")) != label:
            return None
        try:
            qpos, half_size = arrays["qpos"], arrays["cube_half_size"]
            whole = qpos.shape == (len(half_size), _NUM_QPOS) and half_size.ndim == 1
            plausible = np.abs(qpos) <= _FURTHEST, np.abs(half_size - _HALF_SIZE) < _HALF_SIZE
            usable = whole and len(qpos) > 0 and all(each.all() for each in plausible)
        except (KeyError, TypeError, ValueError):
            usable = False
        if not usable:
            raise UserError(f"pool {path} is broken; {remedy}")
        return cls(qpos, half_size)


def simulate_pool(
    seed: int, physical: PhysicalRandomization, size: int = POOL_SIZE, num_threads: int = 0
) -> Pool:
    """`size` states of noisy picks from all stages; takes about a minute on one core.

    The same at every call with the same `seed` and `physical`, whatever the number of threads.
    """
    config = LiftConfig(
        observation="state",
        stage=STAGES,
        episode_length=_EPISODE_LENGTH,
        on_success="terminate",
        randomization=RandomizationConfig(physical=physical),
        start_seed=seed,
    )
    task = LiftTask(config, _NUM_ARMS, num_threads or None)
    rng = np.random.default_rng([seed, 0])
    task.seed(rng.integers(2**63, size=_NUM_ARMS).tolist())
    task.reset(np.arange(_NUM_ARMS))
    teacher = LiftTeacher(task)
    strength = np.resize(NOISE, _NUM_ARMS)[:, None]
    noise = rng.normal(size=(_NUM_ARMS, task.action_dim))
    kept: list[tuple[np.ndarray, ...]] = []
    rounds = -(-size // _NUM_ARMS)
    for step in tqdm(range(_EVERY * rounds), "simulating scenes", leave=False, mininterval=0.5):
        if step % _EVERY == 0:
            kept.append((task.sim.qpos.copy(), task.sim.cube_half_size.copy()))
        noise *= _NOISE_MEMORY
        noise += np.sqrt(1 - _NOISE_MEMORY**2) * rng.normal(size=noise.shape)
        task.step(np.clip(teacher.act() + strength * noise, -1, 1))
        over = np.flatnonzero(task.terminated | task.truncated)
        task.reset(over)
        if len(over):
            teacher.reset(over)
    qpos, half_size = (np.concatenate(rows)[:size] for rows in zip(*kept, strict=True))
    return Pool(qpos, half_size)


class SceneVariation:
    """Draws scenes from a pool: joints jittered, free cubes partly put elsewhere.

    A held cube moves with the gripper; a state in which the arm only touches the cube is taken as
    it is. Nothing is moved into something else.
    """

    def __init__(self, scene: Scene, pool: Pool):
        self._pool = pool
        self._table = scene.config.table_center, scene.config.table_half_size
        self._model = copy.copy(scene.model)  # its cube gets other sizes
        self._data = mujoco.MjData(self._model)
        self._cube = int(self._model.geom(CUBE).id)
        self._tcp_site = scene.arm.tcp_site
        self._cube_node = int(self._model.body_bvhadr[self._model.geom_bodyid[self._cube]])
        self._gripper = int(self._model.geom_bodyid[self._model.geom(scene.arm.static_pad).id])

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """qpos (13,) rad, m and half the cube's edge, m."""
        k = rng.integers(len(self._pool.qpos))
        qpos, half_size = self._pool.qpos[k].copy(), float(self._pool.cube_half_size[k])
        self._resize_cube(half_size)
        overlap, touching = self._contacts(qpos)
        if touching == 1:
            return qpos, half_size
        held = touching > 1
        allowed = np.maximum(_OVERLAP, overlap + 1e-6)  # fingers press into a cube that they hold
        if not held and rng.random() < PLACED_ANEW:
            around = self._on_table(self._tcp(qpos)[:2])
            qpos = self._changed(qpos, allowed, lambda: _cube_placed(qpos, around, half_size, rng))
        return self._changed(qpos, allowed, lambda: self._jittered(qpos, held, rng)), half_size

    def _changed(
        self, qpos: np.ndarray, allowed: np.ndarray, change: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """What `change` makes of `qpos`, unless things would overlap by more than `allowed`."""
        for _ in range(_ATTEMPTS):
            changed = change()
            if (self._contacts(changed)[0] <= allowed).all():
                return changed
        return qpos

    def _jittered(self, qpos: np.ndarray, held: bool, rng: np.random.Generator) -> np.ndarray:
        changed = qpos.copy()
        joints = NUM_JOINTS - 1 if held else NUM_JOINTS  # a jaw that holds stays as it is
        jitter = _ROAMING[1] if rng.random() < _ROAMING[0] else _JOINT_JITTER
        changed[:joints] += rng.normal(0, jitter, joints)
        if held:
            position, rotation = self._gripper_pose(qpos)
            to_position, to_rotation = self._gripper_pose(changed)
            turn = to_rotation @ rotation.T
            changed[_POS] = to_position + turn @ (qpos[_POS] - position)
            quat = np.empty(4)
            mujoco.mju_mat2Quat(quat, turn.ravel())
            mujoco.mju_mulQuat(changed[_QUAT], quat, qpos[_QUAT])
        return changed

    def _gripper_pose(self, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._data.qpos = qpos
        mujoco.mj_kinematics(self._model, self._data)
        body = self._data.body(self._gripper)
        return body.xpos.copy(), body.xmat.reshape(3, 3).copy()

    def _on_table(self, place: np.ndarray) -> np.ndarray:
        """The nearest place (2,) around which all cubes lie on the table."""
        center, half = (np.array(pair) for pair in self._table)
        room = half - PLACE_REACH - 0.05
        return np.clip(place, center - room, center + room)

    def _tcp(self, qpos: np.ndarray) -> np.ndarray:
        self._data.qpos = qpos
        mujoco.mj_kinematics(self._model, self._data)
        return self._data.site(self._tcp_site).xpos.copy()

    def _contacts(self, qpos: np.ndarray) -> tuple[np.ndarray, int]:
        """Deepest overlaps (2,), m, with the table and else; parts of the arm on the cube."""
        self._data.qpos = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_collision(self._model, self._data)
        contact = self._data.contact
        with_table = (self._model.geom_bodyid[contact.geom] == 0).any(axis=1)
        with_cube = (contact.geom == self._cube).any(axis=1)
        depths = [contact.dist[with_table], contact.dist[~with_table]]
        overlap = np.array([-depth.min(initial=0) for depth in depths])
        parts = np.unique(self._model.geom_bodyid[contact.geom[with_cube & ~with_table]])
        return overlap, max(len(parts) - 1, 0)  # the cube is one of them

    def _resize_cube(self, half_size: float) -> None:
        self._model.geom_size[self._cube] = half_size
        self._model.geom_aabb[self._cube, 3:] = half_size
        self._model.geom_rbound[self._cube] = np.sqrt(3) * half_size
        self._model.bvh_aabb[self._cube_node, 3:] = half_size


def _cube_placed(
    qpos: np.ndarray, around: np.ndarray, half_size: float, rng: np.random.Generator
) -> np.ndarray:
    """`qpos` with the cube flat on the table near `around` (2,), with any heading."""
    changed = qpos.copy()
    yaw = rng.uniform(-np.pi, np.pi)
    changed[_POS] = *(around + rng.uniform(-PLACE_REACH, PLACE_REACH, 2)), half_size
    changed[_QUAT] = np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)
    return changed
