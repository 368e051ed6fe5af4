"""The policy's sight as on the robot: networks that look at rendered camera frames."""

import numpy as np

from so101_robobase.perception.eyes import Eyes
from so101_robobase.sim.renderer import make_renderer
from so101_robobase.sim.sight import SCENE, SIMULATED, SightConfig, SimulatorSight
from so101_robobase.sim.simulation import Simulation


class NetworkSight:
    """Class ids and disparity of a simulation's members as `config` asks for.

    What no network sees comes from the simulator, at the size of the policy's picture.
    """

    def __init__(
        self, sim: Simulation, config: SightConfig, renderer: str, simulator: SimulatorSight
    ):
        # The simulator has worsened its disparity already, by episode, where that is asked for.
        depth = SCENE if config.depth == SIMULATED else config.depth
        self._sim, self._simulator = sim, simulator
        self._eyes = Eyes(config.segmentation, depth)
        width, height = config.camera
        self._camera = make_renderer(renderer, sim.scene, height, width)

    def see(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Class ids (n, H, W) uint8 and disparity (n, H, W) float32 of the members `rows` (n,)."""
        frames = self._camera.render_rgb(*self._sim.view(rows))[..., ::-1]
        return self._eyes.see(frames, *self._simulator.see(rows))

    def close(self) -> None:
        """Free the renderers."""
        self._camera.close()
        self._simulator.close()
