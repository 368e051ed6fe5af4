"""When a gripper holds a cube."""

import numpy as np

from so101_robobase.sim.simulation import Simulation

CUBE_REST_HEIGHT = 0.015  # m, centre of the 3 cm cube on the table


def jaw_angle(sim: Simulation) -> np.ndarray:
    """The jaw as it would be around a 3 cm cube, rad, (N,)."""
    return sim.joint_pos[:, -1] - sim.scene.arm.jaw_excess(sim.cube_half_size)


def grasping(sim: Simulation) -> np.ndarray:
    """Both fingers touch the cube and the jaw is closed, (N,) bool."""
    return sim.touching.all(axis=1) & (jaw_angle(sim) < sim.scene.arm.jaw_closed)
