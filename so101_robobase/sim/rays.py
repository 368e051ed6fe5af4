"""Rays into a MuJoCo model."""

import mujoco
import numpy as np


def cast_rays(
    model: mujoco.MjModel, data: mujoco.MjData, origin: np.ndarray, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`rays` (K, 3) from `origin` (3,) -> geoms hit (K,) int32, distances (K,) in ray lengths.

    Where nothing is hit: -1 and inf. `data` must hold the kinematics.
    """
    count = len(rays)
    hit, distance = np.empty(count, np.int32), np.empty(count)
    mujoco.mj_multiRay(
        model,
        data,
        origin,
        rays.ravel(),
        None,  # every geom group
        True,  # static geoms too
        -1,  # no body excluded
        hit,
        distance,
        None,  # no normals
        count,
        mujoco.mjMAXVAL,
    )
    distance[hit < 0] = np.inf
    return hit, distance
