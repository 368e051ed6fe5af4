"""Choice of a renderer: pictures of class ids and depth from the wrist camera.

`GLRenderer` draws with OpenGL (EGL), `RayRenderer` casts rays and needs no system library.
"""

import functools
import sys
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from robobase.errors import UserError
from so101_robobase.sim.appearance import Look
from so101_robobase.sim.gl_renderer import GLRenderer, GLUnavailableError
from so101_robobase.sim.ray_renderer import RayRenderer
from so101_robobase.sim.scene import WRIST_CAMERA, Scene

RENDERERS = ("auto", "gl", "ray")


class Renderer(Protocol):
    """One picture per row of `qpos` (N, J + 7); rows do not influence one another.

    `looks` holds one `Look` a row (None: as the scene is), `cube_half_size` (N,) half the edge of
    the cube that is drawn, metres (None: the scene's). Ids and depth follow a look's camera, lens
    and distractors, which are unlabeled.
    """

    def render(
        self,
        qpos: np.ndarray,
        looks: Sequence[Look] | None = None,
        cube_half_size: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Class ids (N, H, W) uint8 and perpendicular depth (N, H, W) float32, metres or inf."""

    def render_rgb(
        self,
        qpos: np.ndarray,
        looks: Sequence[Look] | None = None,
        cube_half_size: np.ndarray | None = None,
    ) -> np.ndarray:
        """Colours (N, H, W, 3) uint8. UserError where the renderer has none."""

    def close(self) -> None:
        """Free what the renderer holds; it cannot be used afterwards."""


def make_renderer(
    kind: str, scene: Scene, height: int, width: int, camera: str = WRIST_CAMERA
) -> Renderer:
    """Renderer `kind` of `scene`; "auto" is "gl" where it works, else "ray" with a notice.

    Raises UserError if `kind` is unknown, or is "gl" and OpenGL does not start.
    """
    if kind not in RENDERERS:
        raise UserError(f"renderer={kind!r} is unknown; known: {', '.join(RENDERERS)}")
    if kind == "ray":
        return RayRenderer(scene, height, width, camera)
    try:
        return GLRenderer(scene, height, width, camera)
    except GLUnavailableError as error:
        if kind == "gl":
            raise
        _say_once(f"Rendering with rays, several times slower: {error}")
        return RayRenderer(scene, height, width, camera)


def labelled_pictures(
    renderer: Renderer,
    qpos: np.ndarray,
    looks: Sequence[Look] | None = None,
    cube_half_size: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, H, W, 3) uint8 RGB and the class ids (N, H, W) uint8 of the same pictures."""
    ids, _ = renderer.render(qpos, looks, cube_half_size)
    return renderer.render_rgb(qpos, looks, cube_half_size), ids


@functools.cache
def _say_once(message: str) -> None:
    print(message, file=sys.stderr)
