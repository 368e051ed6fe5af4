"""When a gripper holds a cube."""

from typing import Any

import numpy as np

from so101_robobase.sim.simulation import Simulation

CUBE_REST_HEIGHT = 0.015  # m, centre of the 3 cm cube on the table
JAW_CLOSED = 0.25  # rad, for the 3 cm cube
JAW_PER_WIDTH = 14.1  # rad/m, jaw per width held; within 0.008 rad for cubes of 21 to 38 mm


def jaw_excess(cube_half_size: np.ndarray | float) -> Any:
    """How much wider than around the 3 cm cube the jaw is around a cube of this half edge, rad.

    Every threshold on the jaw was found with the 3 cm cube; less this, the jaw compares with it.
    """
    return JAW_PER_WIDTH * 2 * (cube_half_size - CUBE_REST_HEIGHT)


def jaw_angle(sim: Simulation) -> np.ndarray:
    """The jaw as it would be around a 3 cm cube, rad, (N,)."""
    return sim.joint_pos[:, -1] - jaw_excess(sim.cube_half_size)


def grasping(sim: Simulation) -> np.ndarray:
    """Both fingers touch the cube and the jaw is closed, (N,) bool."""
    return sim.touching.all(axis=1) & (jaw_angle(sim) < JAW_CLOSED)
