"""One picture for people of one simulation: a view of the scene beside what the policy sees."""

import numpy as np

from so101_robobase.sim.gl_context import GLUnavailableError
from so101_robobase.sim.simulation import Simulation
from so101_robobase.sim.views import Views
from so101_robobase.vision import pictures
from so101_robobase.vision.kinds import KINDS, Source

VIEW = "iso"
SIZE = 256  # px, edge of every tile


class Spectator:
    """Draws with reduced meshes, so that a video costs training little time.

    The scene has the episode's own looks. Where OpenGL is missing the view is left black; nothing
    is opened before the first picture.

    Args:
        sim: whose members are drawn.
        observation: kind of the pictures that `draw` is given.
    """

    def __init__(self, sim: Simulation, observation: str):
        self._sim = sim
        self._observation = observation
        self._views: Views | None = None
        self._has_gl = True

    def draw(self, member: int, picture: np.ndarray | None) -> np.ndarray:
        """Member `member` and its observed picture (C, H, W), if any -> (256, k * 256, 3) uint8.

        From left to right: the scene, the wrist camera's colours where the observation has others,
        and the observation's channels.
        """
        seen = (
            [] if picture is None else pictures.observation_panels(picture, self._observation, SIZE)
        )
        return np.hstack([*self._scene(member, with_wrist=picture is not None), *seen])

    def close(self) -> None:
        """Free the OpenGL context."""
        if self._views is not None:
            self._views.close()
            self._views = None

    def _scene(self, member: int, with_wrist: bool) -> list[np.ndarray]:
        if self._views is None and self._has_gl:
            try:
                self._views = Views(self._sim.scene, (SIZE, SIZE), reduced=True)
            except GLUnavailableError:
                self._has_gl = False
        if self._views is None:
            return [np.zeros((SIZE, SIZE, 3), np.uint8)]
        qpos, looks, half_size = self._sim.view(np.array([member]))
        dressed = (None if looks is None else looks[0], None if half_size is None else half_size[0])
        tiles = [self._views.render(self._sim.qpos[member], [VIEW], *dressed)[VIEW]]
        if with_wrist and not KINDS[self._observation].sees(Source.COLORS):
            wrist = self._views.wrist(qpos[0], *dressed)
            tiles.append(pictures.caption(wrist, "wrist camera"))
        return tiles
