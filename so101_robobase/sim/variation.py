"""Physics that differs between members: the cube, friction, servos, joints."""

import numpy as np

from so101_robobase.sim.engine import Engine
from so101_robobase.sim.randomization import PhysicalRandomization, shapes


class Variation:
    """What was drawn for each of the N members of `engine`, and its effect on their physics.

    Attributes:
        drawn: (N, ...) by field of `PhysicalRandomization`. Where physics is not randomised, the
            cube's edge is the scene's and nothing else is read.
    """

    def __init__(self, config: PhysicalRandomization, engine: Engine):
        self._engine, scene = engine, engine.scene
        self._num_joints = scene.arm.num_joints
        self._config = config = config.of(2 * scene.config.cube_half_size, scene.config.cube_mass)
        self.drawn = {
            name: np.zeros((engine.num_envs, *shape), np.result_type(getattr(config, name)[0]))
            for name, shape in shapes(scene.arm.num_joints).items()
        }
        self.drawn["cube_edge"][:] = 2 * scene.config.cube_half_size

    @property
    def cube_half_size(self) -> np.ndarray:
        """Half the edge of every simulation's cube, m, (N,)."""
        return self.drawn["cube_edge"] / 2

    def redraw(self, ids: np.ndarray, rngs: list[np.random.Generator], edges: np.ndarray) -> None:
        """New physics for simulations `ids` (n,), each from its own generator of `rngs` (N).

        Their cubes get `edges` (n,) m. The caller runs `forward` on them.
        """
        if not self._config.enabled:
            return
        self.drawn["cube_edge"][ids] = edges
        for i in ids:
            for name, value in self._config.draw(rngs[i], self._num_joints).items():
                self.drawn[name][i] = value
        self._apply(ids)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all that was drawn."""
        return {name: value.copy() for name, value in self.drawn.items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go back to a `state_dict`. The caller runs `forward` on the simulations."""
        for name, value in self.drawn.items():
            value[:] = state[name]
        if self._config.enabled:
            self._apply(np.arange(self._engine.num_envs))

    def _apply(self, ids: np.ndarray) -> None:
        drawn, engine = {name: value[ids] for name, value in self.drawn.items()}, self._engine
        engine.set_friction(ids, drawn["friction"])
        servos = ("servo_stiffness", "servo_damping", "joint_damping", "joint_friction")
        engine.scale_servos(ids, *(drawn[name] for name in servos))
        engine.limit_forces(ids, drawn["force_limit"])
        engine.resize_cubes(ids, drawn["cube_edge"] / 2, drawn["cube_mass"])
