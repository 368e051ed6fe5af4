"""The physics of N members of one scene, on MuJoCo's batch: the only file that knows which engine.

An engine gives live arrays with a row per member, advances some or all of them, takes and gives
their states row by row, and lets them differ in their physics. Another engine is another class
with these methods.
"""

from functools import cached_property

import mujoco
import numpy as np
from mujoco.batch import Batch

from so101_robobase.sim.scene import CUBE, MOVING_FINGER_SENSOR, STATIC_FINGER_SENSOR, Scene
from so101_robobase.sim.threads import usable_threads

_CURRENT = int(mujoco.mjtStage.mjSTAGE_VEL)  # positions, velocities and contacts of the new state
_BLOWN_UP = [
    int(mujoco.mjtWarning.mjWARN_BADQPOS),
    int(mujoco.mjtWarning.mjWARN_BADQVEL),
    int(mujoco.mjtWarning.mjWARN_BADQACC),
]
_RUNAWAY = 1e3  # rad/s or m/s: no arm moves so fast; MuJoCo itself gives up at 1e10 only


class Engine:
    """N members of `scene`; J joints.

    | attribute | shape       | meaning                                                         |
    |-----------|-------------|-----------------------------------------------------------------|
    | qpos      | (N, nq)     | joints rad, cube: position m and quaternion, marks m, live      |
    | qvel      | (N, nv)     | their velocities, live                                          |
    | ctrl      | (N, J)      | what the servos are told, rad, live                             |
    | state     | (N, nstate) | all that the future depends on, live; the time, then qpos first |

    Args:
        num_threads: 0 takes all cores. Results do not depend on it.
        contacts: False is twice as fast, for arms in free air.
    """

    def __init__(self, scene: Scene, num_envs: int, num_threads: int = 0, contacts: bool = True):
        self.scene, self.num_envs = scene, num_envs
        model = scene.model
        # One MjData per member, so that the forward pass after a step is the next step's first.
        threads = min(num_threads or usable_threads(), num_envs)
        self.batch = Batch(model, num_envs, threads, persistent=True)
        if not contacts:
            disabled = model.opt.disableflags | int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
            self.batch.expand("opt.disableflags")[:] = disabled
        self.qpos, self.qvel = self.batch.bind("qpos"), self.batch.bind("qvel")
        self.ctrl, self.state = self.batch.bind("ctrl"), self.batch.state
        self._site_xpos = self.batch.bind("site_xpos")
        self._geom_xpos = self.batch.bind("geom_xpos")
        self._sensordata = self.batch.bind("sensordata")
        self._tcp = model.site(scene.arm.tcp_site).id
        self._moving_pad = model.geom(scene.arm.moving_pad).id
        self._fingers = [
            int(model.sensor(name).adr[0]) for name in (STATIC_FINGER_SENSOR, MOVING_FINGER_SENSOR)
        ]

    @property
    def tcp_pos(self) -> np.ndarray:
        """Position of the tool centre point, m, (N, 3)."""
        return self._site_xpos[:, self._tcp]

    @property
    def moving_pad_pos(self) -> np.ndarray:
        """Position of the moving finger's pad, m, (N, 3)."""
        return self._geom_xpos[:, self._moving_pad]

    @property
    def touching(self) -> np.ndarray:
        """Whether the static and the moving finger touch the cube, (N, 2) bool."""
        return self._sensordata[:, self._fingers] > 0

    @property
    def holding_torque(self) -> np.ndarray:
        """What the servos hold against weight, contact, friction and damping, N m, (N, J)."""
        bias, passive, constraint = self._forces
        return (bias - passive - constraint)[:, : self.scene.arm.num_joints]

    def step(self, substeps: int, running: np.ndarray | None = None) -> None:
        """`substeps` of the scene's timestep of the members `running` (N,) bool; None: all."""
        chosen = None if running is None or running.all() else running
        self.batch.step(chosen, nstep=substeps, stage=_CURRENT)

    def reset(self) -> None:
        """All members at rest in the model's own pose, at time 0; the caller runs `forward`."""
        self.batch.reset(stage=mujoco.mjtStage.mjSTAGE_NONE)

    def forward(self, ids: np.ndarray | None = None) -> None:
        """Let contacts and positions follow `qpos` of the members `ids`, default all."""
        self.batch.forward(ids, stage=_CURRENT)

    def clear_warnings(self) -> None:
        """Forget what `blown_up` saw; MuJoCo counts from 1 after each of its resets."""
        self.batch.warning[:, _BLOWN_UP, 1] = 0

    def blown_up(self) -> np.ndarray:
        """Whose physics blew up since `clear_warnings`, (N,) bool; they go on from another pose."""
        warned = self.batch.warning[:, _BLOWN_UP, 1].any(axis=1)
        return warned | ~(np.abs(self.qvel) < _RUNAWAY).all(axis=1)

    def follow(self, told: np.ndarray) -> np.ndarray:
        """A physics step for each of `told` (N, T, J) rad; returns joint positions (N, T, J)."""
        spec = int(mujoco.mjtState.mjSTATE_CTRL)
        result = self.batch.rollout(told.shape[1], told, control_spec=spec)
        return result["qpos"][:, :, : told.shape[2]]

    # ---- Physics that differs by member; the caller runs `forward`

    def resize_cubes(self, ids: np.ndarray, half_size: np.ndarray, mass: np.ndarray) -> None:
        """Give the cubes of members `ids` (n,) half an edge (n,) m and a mass (n,) kg.

        What MuJoCo derives from them, bounding volumes and inverse weights, follows.
        """
        model, expand, half = self.scene.model, self.batch.expand, half_size[:, None]
        geom, body = model.geom(CUBE).id, model.body(CUBE).id
        node = int(model.body_bvhadr[body])  # its only geom's bounding box
        expand("geom_size")[ids, geom] = half
        expand("geom_rbound")[ids, geom] = np.sqrt(3) * half_size
        expand("geom_aabb")[ids, geom, 3:] = half
        expand("bvh_aabb")[ids, node, 3:] = half
        expand("body_mass")[ids, body] = mass
        expand("body_inertia")[ids, body] = mass[:, None] * (half**2 + half**2) / 3
        self.batch.set_const(ids)

    def scale_servos(
        self,
        ids: np.ndarray,
        stiffness: np.ndarray,
        damping: np.ndarray,
        joint_damping: np.ndarray,
        joint_friction: np.ndarray,
    ) -> None:
        """Multiply what the scene's servos and joints are in members `ids` (n,), each (n, J)."""
        nominal, joints, expand = self.scene.model, slice(self.scene.model.nu), self.batch.expand
        gain, bias = expand("actuator_gainprm"), expand("actuator_biasprm")
        gain[ids, :, 0] = nominal.actuator_gainprm[:, 0] * stiffness
        bias[ids, :, 1] = nominal.actuator_biasprm[:, 1] * stiffness
        bias[ids, :, 2] = nominal.actuator_biasprm[:, 2] * damping
        expand("dof_damping")[ids, joints] = nominal.dof_damping[joints] * joint_damping
        expand("dof_frictionloss")[ids, joints] = nominal.dof_frictionloss[joints] * joint_friction

    def limit_forces(self, ids: np.ndarray, factor: np.ndarray) -> None:
        """Multiply the greatest torque of the servos in members `ids` (n,) by `factor` (n, J)."""
        nominal = self.scene.model.actuator_forcerange
        self.batch.expand("actuator_forcerange")[ids] = nominal * factor[:, :, None]

    def set_friction(self, ids: np.ndarray, sliding: np.ndarray) -> None:
        """Give all that collides in members `ids` (n,) the sliding friction (n,)."""
        # A contact takes the larger friction of its two geoms, so both sides are set.
        self.batch.expand("geom_friction")[ids[:, None], self._collides, 0] = sliding[:, None]

    @cached_property
    def _collides(self) -> np.ndarray:
        model = self.scene.model
        return np.flatnonzero(model.geom_contype | model.geom_conaffinity)

    @cached_property
    def _forces(self) -> list[np.ndarray]:
        names = ("qfrc_bias", "qfrc_passive", "qfrc_constraint")
        return [self.batch.bind(name) for name in names]
