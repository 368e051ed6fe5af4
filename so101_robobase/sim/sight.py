"""From simulations to class ids and disparity, before `observation` makes the policy's picture.

Three ways: the simulator's own knowledge, the same with a network's mistakes made on purpose, or
real networks that look at rendered colours.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple, Protocol

import numpy as np

from robobase.settings.fields import check_fields
from robobase.settings.kinds import Items, OrNull, Text, Whole
from robobase.settings.setting import Need, one_of
from so101_robobase.observation import disparity_from_depth
from so101_robobase.sim.appearance import Look
from so101_robobase.sim.corruption import IdCorruption
from so101_robobase.sim.renderer import Renderer, make_renderer
from so101_robobase.sim.simulated_depth import SimulatedDepth

if TYPE_CHECKING:
    from so101_robobase.sim.lift import LiftTask

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
        str | None, OrNull(Text()), one_of("env.observation", "seg", "seg_depth")
    ] = None
    depth: Annotated[str, Text(), one_of("env.observation", "seg_depth")] = SCENE
    camera: Annotated[tuple[int, int], Items(Whole(16, 4096), 2, 2), _NETWORKS] = (640, 480)

    def __post_init__(self) -> None:
        check_fields(self, "sight")

    @property
    def needs_colors(self) -> bool:
        """Whether a network looks at frames."""
        return _needs_colors(self.segmentation, self.depth)


class View(NamedTuple):
    """What a `Renderer` draws of some members."""

    qpos: np.ndarray
    looks: list[Look] | None
    cube_half_size: np.ndarray | None


def view(task: "LiftTask", rows: np.ndarray) -> View:
    """What the cameras of the members `rows` look at."""
    varied = task.config.randomization
    return View(
        task.interface.seen_qpos[rows],
        [task.looks[row] for row in rows] if varied.visual.enabled else None,
        task.cube_half_size[rows] if varied.physical.enabled else None,
    )


def make_sight(task: "LiftTask", image_size: int, renderer: str) -> "Sight":
    """The sight that `task.config` asks for, of pictures of `image_size` pixels along an edge.

    Raises UserError as `make_renderer` does, and for networks that cannot be used.
    """
    simulator = SimulatorSight(task, make_renderer(renderer, task.scene, image_size, image_size))
    if not task.config.sight.needs_colors:
        return simulator
    from so101_robobase.perception.network_sight import NetworkSight

    return NetworkSight(task, simulator)


class Sight(Protocol):
    """Looks through the wrist cameras of a task."""

    def see(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Class ids (n, H, W) uint8 and disparity (n, H, W) float32 of the members `rows` (n,)."""

    def close(self) -> None:
        """Free what it holds."""


class SimulatorSight:
    """What the simulator knows, with the mistakes that `config.corruption` asks for."""

    def __init__(self, task: "LiftTask", renderer: Renderer):
        self._task, self._renderer = task, renderer
        corruption = task.config.corruption
        self._corrupt_ids = IdCorruption(corruption) if corruption.enabled else None
        worse = task.config.sight.depth == SIMULATED or (corruption.enabled and corruption.depth)
        self._worsen_depth = SimulatedDepth() if worse else None

    def see(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ids, depth = self._renderer.render(*view(self._task, rows))
        disparity = disparity_from_depth(depth)
        keys, steps = self._task.sight_key[rows], self._task.episode_steps[rows]
        if self._corrupt_ids is not None:
            ids = self._corrupt_ids(ids, keys, steps)
        if self._worsen_depth is not None:
            disparity = self._worsen_depth(disparity, keys, steps)
        return ids, disparity

    def close(self) -> None:
        self._renderer.close()
