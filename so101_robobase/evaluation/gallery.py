"""A recorded episode as one row of pictures."""

from collections.abc import Mapping

import numpy as np

from so101_robobase.evaluation.recording import Track
from so101_robobase.sim.views import Views
from so101_robobase.vision import pictures


def row(
    track: Track,
    moments: Mapping[int, str],
    views: Views | None,
    observation: str,
    size: int,
    camera: str = "side",
) -> pictures.Image:
    """(H, len(moments) * size, 3) uint8: the scene above, below it what the policy saw.

    Args:
        moments: state of the track -> its caption.
        views: draws the scene; None (no OpenGL) leaves what the policy saw.
        observation: kind of the policy's pictures.
        size: edge of a tile in pixels, that of `views` too.
        camera: where the scene is seen from.

    Raises:
        ValueError: neither `views` nor pictures: there is nothing to draw.
    """
    if views is None and not track.pictures:
        raise ValueError("no views, and the policy saw no pictures")
    columns = []
    for t, name in moments.items():
        tiles = []
        if views is not None:
            dressed = track.look, track.cube_half_size
            tiles.append(views.render(track.qpos[t], (camera,), *dressed)[camera])
        if track.pictures:
            tiles += pictures.observation_panels(track.pictures[t], observation, size)[:1]
        columns.append(np.vstack([pictures.strip(size, f"{name}, step {t}"), *tiles]))
    return np.hstack(columns)
