"""Physics that differs between the simulations of one batch: the cube, friction, servos, joints.

Values go into the fields of `mujoco.MjModel` that `mujoco.batch.Batch.expand` gives every
simulation by itself; what MuJoCo derives from them (bounding volumes, inverse weights) follows.
"""

import numpy as np
from mujoco.batch import Batch

from so101_robobase.sim.randomization import PhysicalRandomization, shapes
from so101_robobase.sim.scene import CUBE, Scene


class CubeSizes:
    """Cubes of different sizes and masses in the simulations of `batch`, which runs `scene`."""

    def __init__(self, scene: Scene, batch: Batch):
        self._batch = batch
        self._geom = scene.model.geom(CUBE).id
        self._body = scene.model.body(CUBE).id
        self._node = int(scene.model.body_bvhadr[self._body])  # its only geom's bounding box
        self._size = batch.expand("geom_size")
        self._radius = batch.expand("geom_rbound")
        self._box = batch.expand("geom_aabb")
        self._node_box = batch.expand("bvh_aabb")
        self._mass = batch.expand("body_mass")
        self._inertia = batch.expand("body_inertia")

    def set(self, ids: np.ndarray, half_size: np.ndarray, mass: np.ndarray) -> None:
        """Give the cubes of simulations `ids` (n,) half an edge (n,) m and a mass (n,) kg."""
        half = half_size[:, None]
        self._size[ids, self._geom] = half
        self._radius[ids, self._geom] = np.sqrt(3) * half_size
        self._box[ids, self._geom, 3:] = half
        self._node_box[ids, self._node, 3:] = half
        self._mass[ids, self._body] = mass
        self._inertia[ids, self._body] = mass[:, None] * (half**2 + half**2) / 3
        self._batch.set_const(ids)


class _Models:
    """The per-simulation model fields of `batch`, which runs `scene`."""

    def __init__(self, scene: Scene, batch: Batch):
        self._nominal = scene.model
        self._collides = np.flatnonzero(scene.model.geom_contype | scene.model.geom_conaffinity)
        self._friction = batch.expand("geom_friction")  # (N, ngeom, 3), sliding first
        self._gain = batch.expand("actuator_gainprm")  # (N, J, k): kp, ...
        self._bias = batch.expand("actuator_biasprm")  # (N, J, k): 0, -kp, -kv, ...
        self._force_range = batch.expand("actuator_forcerange")  # (N, J, 2) N m
        self._damping = batch.expand("dof_damping")  # (N, J + 6) N m s/rad, joints first
        self._dry_friction = batch.expand("dof_frictionloss")  # (N, J + 6) N m
        self._cubes = CubeSizes(scene, batch)

    def set(self, ids: np.ndarray, drawn: dict[str, np.ndarray]) -> None:
        """Give simulations `ids` (n,) the values `drawn` (n, ...) for them."""
        nominal, joints = self._nominal, slice(self._nominal.nu)
        # A contact takes the larger friction of its two geoms, so both sides are set.
        self._friction[ids[:, None], self._collides, 0] = drawn["friction"][:, None]
        self._gain[ids, :, 0] = nominal.actuator_gainprm[:, 0] * drawn["servo_stiffness"]
        self._bias[ids, :, 1] = nominal.actuator_biasprm[:, 1] * drawn["servo_stiffness"]
        self._bias[ids, :, 2] = nominal.actuator_biasprm[:, 2] * drawn["servo_damping"]
        self._force_range[ids] = nominal.actuator_forcerange * drawn["force_limit"][:, :, None]
        self._damping[ids, joints] = nominal.dof_damping[joints] * drawn["joint_damping"]
        self._dry_friction[ids, joints] = nominal.dof_frictionloss[joints] * drawn["joint_friction"]
        self._cubes.set(ids, drawn["cube_edge"] / 2, drawn["cube_mass"])


class Variation:
    """What was drawn for each of the N simulations of `batch`, and its effect on their models.

    Attributes:
        drawn: (N, ...) by field of `PhysicalRandomization`. Where physics is not randomised, the
            cube's edge is the scene's and nothing else is read.
    """

    def __init__(self, config: PhysicalRandomization, scene: Scene, batch: Batch):
        self._num_joints = scene.arm.num_joints
        self._config = config = config.of(2 * scene.config.cube_half_size, scene.config.cube_mass)
        self.drawn = {
            name: np.zeros((batch.nsim, *shape), np.result_type(getattr(config, name)[0]))
            for name, shape in shapes(scene.arm.num_joints).items()
        }
        self.drawn["cube_edge"][:] = 2 * scene.config.cube_half_size
        self._models = _Models(scene, batch) if config.enabled else None

    @property
    def cube_half_size(self) -> np.ndarray:
        """Half the edge of every simulation's cube, m, (N,)."""
        return self.drawn["cube_edge"] / 2

    def redraw(self, ids: np.ndarray, rngs: list[np.random.Generator], edges: np.ndarray) -> None:
        """New physics for simulations `ids` (n,), each from its own generator of `rngs` (N).

        Their cubes get `edges` (n,) m. The caller runs `forward` on them.
        """
        if self._models is None:
            return
        self.drawn["cube_edge"][ids] = edges
        for i in ids:
            for name, value in self._config.draw(rngs[i], self._num_joints).items():
                self.drawn[name][i] = value
        self._models.set(ids, {name: value[ids] for name, value in self.drawn.items()})

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all that was drawn."""
        return {name: value.copy() for name, value in self.drawn.items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go back to a `state_dict`. The caller runs `forward` on the simulations."""
        for name, value in self.drawn.items():
            value[:] = state[name]
        if self._models is not None:
            self._models.set(np.arange(len(self.drawn["cube_edge"])), self.drawn)
