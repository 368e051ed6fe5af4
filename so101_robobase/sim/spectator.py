"""One picture for people of one simulation: a view of the scene beside what the policy sees."""

import numpy as np

from so101_robobase import pictures
from so101_robobase.sim.gl_context import GLUnavailableError
from so101_robobase.sim.scene import Scene
from so101_robobase.sim.views import Views

VIEW = "iso"
SIZE = 256  # px, edge of every tile


class Spectator:
    """Draws with reduced meshes, so that a video costs training little time.

    Where OpenGL is missing the view is left black; nothing is opened before the first picture.
    """

    def __init__(self, scene: Scene, observation: str):
        self._scene = scene
        self._observation = observation
        self._views: Views | None = None
        self._has_gl = True

    def draw(self, qpos: np.ndarray, picture: np.ndarray | None) -> np.ndarray:
        """State (13,) and its observed picture (C, H, W), if any -> (256, k * 256, 3) uint8."""
        seen = (
            [] if picture is None else pictures.observation_panels(picture, self._observation, SIZE)
        )
        return np.hstack([self._view(qpos), *seen])

    def close(self) -> None:
        """Free the OpenGL context."""
        if self._views is not None:
            self._views.close()
            self._views = None

    def _view(self, qpos: np.ndarray) -> np.ndarray:
        if self._views is None and self._has_gl:
            try:
                self._views = Views(self._scene, (SIZE, SIZE), reduced=True)
            except GLUnavailableError:
                self._has_gl = False
        if self._views is None:
            return np.zeros((SIZE, SIZE, 3), np.uint8)
        return self._views.render(qpos, [VIEW])[VIEW]
