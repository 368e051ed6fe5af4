"""From simulations to class ids and disparity, before `observation` makes the policy's picture.

Three ways: the simulator's own knowledge, the same with a network's mistakes made on purpose, or
real networks that look at rendered colours.
"""

from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np

from robobase.settings.fields import check_fields
from robobase.settings.kinds import Items, OrNull, Text, Whole
from robobase.settings.setting import Need, one_of
from so101_robobase.sim.corruption import CorruptionConfig, IdCorruption
from so101_robobase.sim.renderer import Renderer
from so101_robobase.sim.simulated_depth import SimulatedDepth
from so101_robobase.sim.simulation import Simulation
from so101_robobase.vision.kinds import Source, kinds_with
from so101_robobase.vision.observation import disparity_from_depth

SCENE, SIMULATED = "scene", "simulated"


def _needs_colors(segmentation: str | None, depth: str) -> bool:
    return segmentation is not None or depth not in (SCENE, SIMULATED)


_NETWORKS = Need("a network in env.sight", (".segmentation", ".depth"), _needs_colors)


@dataclass(frozen=True)
class SightConfig:
    """Where class ids and disparity come from.

    Attributes:
        segmentation: checkpoint of `so101_robobase segmentation train` that finds the ids in
            rendered colours; None: the simulator knows them. Needs the extra `perception`.
        depth: "scene": the simulator knows it; "simulated": worsened as `sim.simulated_depth`
            says; else the name or the folder of a depth model, which needs the extra too.
        camera: width and height of the frames that networks look at, pixels.
    """

    segmentation: Annotated[
        str | None, OrNull(Text()), one_of("env.observation", *kinds_with(Source.IDS))
    ] = None
    depth: Annotated[str, Text(), one_of("env.observation", *kinds_with(Source.DISPARITY))] = SCENE
    camera: Annotated[tuple[int, int], Items(Whole(16, 4096), 2, 2), _NETWORKS] = (640, 480)

    def __post_init__(self) -> None:
        check_fields(self, "sight")

    @property
    def needs_colors(self) -> bool:
        """Whether a network looks at frames."""
        return _needs_colors(self.segmentation, self.depth)


def draws_keys(sight: SightConfig, corruption: CorruptionConfig) -> bool:
    """Whether each member's sight makes mistakes of its own (`Simulation.sight_key`)."""
    return corruption.enabled or sight.depth == SIMULATED


class Sight(Protocol):
    """Looks through the wrist cameras of a simulation."""

    def see(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Class ids (n, H, W) uint8 and disparity (n, H, W) float32 of the members `rows` (n,)."""

    def close(self) -> None:
        """Free what it holds."""


class SimulatorSight:
    """What the simulator knows, with the mistakes that `corruption` asks for."""

    def __init__(
        self,
        sim: Simulation,
        renderer: Renderer,
        sight: SightConfig,
        corruption: CorruptionConfig,
    ):
        self._sim, self._renderer = sim, renderer
        self._corrupt_ids = IdCorruption(corruption) if corruption.enabled else None
        worse = sight.depth == SIMULATED or (corruption.enabled and corruption.depth)
        self._worsen_depth = SimulatedDepth() if worse else None

    def see(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ids, depth = self._renderer.render(*self._sim.view(rows))
        disparity = disparity_from_depth(depth)
        keys, steps = self._sim.sight_key[rows], self._sim.steps[rows]
        if self._corrupt_ids is not None:
            ids = self._corrupt_ids(ids, keys, steps)
        if self._worsen_depth is not None:
            disparity = self._worsen_depth(disparity, keys, steps)
        return ids, disparity

    def close(self) -> None:
        self._renderer.close()
