"""Observations of a batch of simulations, made with the functions that the robot uses too."""

import numpy as np
from gymnasium import spaces

from so101_robobase.arm.kinematics import rpy
from so101_robobase.arm.model import ArmModel
from so101_robobase.sim.corruption import CorruptionConfig
from so101_robobase.sim.renderer import Renderer, make_renderer
from so101_robobase.sim.sight import Sight, SightConfig, SimulatorSight
from so101_robobase.sim.simulation import Simulation
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.vision.kinds import KINDS, Source
from so101_robobase.vision.observation import (
    proprioception,
    proprioception_names,
)


def state_names(arm: ArmModel) -> tuple[str, ...]:
    """Names of the numbers of a state observation: the policy's, and the cube in m."""
    return (*proprioception_names(arm), "cube.x", "cube.y", "cube.z")


class Observer:
    """Looks at the members of a `Simulation`.

    | kind      | entries                                                                       |
    |-----------|-------------------------------------------------------------------------------|
    | seg_depth | rgb (2, H, W) uint8: class ids 0 to 5, disparity 0 to 255; low_dim_state (18,)|
    | seg       | rgb (1, H, W) uint8: class ids; low_dim_state (18,)                           |
    | rgb       | rgb (3, H, W) uint8: colours; low_dim_state (18,)                             |
    | state     | low_dim_state (21,): the 18 numbers and the cube's position                   |

    `low_dim_state` is float32, named by `proprioception_names` (18 numbers are the SO-101's); with
    a picture nothing of the cube is in it. H = W = `image_size`.

    Args:
        sight, corruption: where ids and disparity come from, and what is wrong with them.
    """

    def __init__(
        self,
        sim: Simulation,
        kind: str,
        image_size: int,
        renderer: str,
        sight: SightConfig = SightConfig(),  # noqa: B008 - frozen
        corruption: CorruptionConfig = CorruptionConfig(),  # noqa: B008 - frozen
    ):
        self._sim = sim
        self._kind = KINDS[kind]
        self._size = image_size
        self._closed = False
        # The wrist camera's centre square is rendered directly at the size it is seen in.
        self._sight: Sight | None = None
        self._camera: Renderer | None = None
        if self._kind.sees(Source.IDS, Source.DISPARITY):
            self._sight = make_sight(sim, image_size, renderer, sight, corruption)
        if self._kind.sees(Source.COLORS):
            self._camera = make_renderer(renderer, sim.scene, image_size, image_size)
        self.space = observation_space(kind, image_size, sim.scene.arm)

    def observe(self, ids: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Observations of the members `ids` (default all) with a leading axis for them."""
        rows = np.arange(self._sim.num_envs) if ids is None else ids
        if not self._kind.sources:
            return {"low_dim_state": state_observation(self._sim)[rows]}
        if self._closed:
            raise RuntimeError("the environment is closed")
        picture = self._kind.picture(self._see(rows), self._size)
        return {"rgb": picture, "low_dim_state": low_dim_state(self._sim)[rows]}

    def _see(self, rows: np.ndarray) -> dict[Source, np.ndarray]:
        seen: dict[Source, np.ndarray] = {}
        if self._sight is not None:
            seen[Source.IDS], seen[Source.DISPARITY] = self._sight.see(rows)
        if self._camera is not None:
            seen[Source.COLORS] = self._camera.render_rgb(*self._sim.view(rows))
        return seen

    def close(self) -> None:
        """Free the renderers."""
        self._closed = True
        for eye in (self._sight, self._camera):
            if eye is not None:
                eye.close()
        self._sight = self._camera = None


def make_observer(sim: Simulation, config: TaskConfig) -> Observer:
    """The observer that `config` asks for."""
    return Observer(
        sim,
        config.observation,
        config.image_size,
        config.renderer,
        config.sight,
        config.corruption,
    )


def make_sight(
    sim: Simulation,
    image_size: int,
    renderer: str,
    sight: SightConfig,
    corruption: CorruptionConfig,
) -> Sight:
    """The sight that the settings ask for, of pictures of `image_size` pixels along an edge.

    Raises UserError as `make_renderer` does, and for networks that cannot be used.
    """
    camera = make_renderer(renderer, sim.scene, image_size, image_size)
    simulator = SimulatorSight(sim, camera, sight, corruption)
    if not sight.needs_colors:
        return simulator
    # the networks need the extra `perception`
    from so101_robobase.perception.network_sight import NetworkSight

    return NetworkSight(sim, sight, renderer, simulator)


def observation_space(kind: str, image_size: int, arm: ArmModel) -> spaces.Dict:
    """Space of one member's observation of `kind`."""
    numbers = len((state_names if kind == "state" else proprioception_names)(arm))
    entries: dict[str, spaces.Space] = {
        "low_dim_state": spaces.Box(-np.inf, np.inf, (numbers,), np.float32)
    }
    if KINDS[kind].sources:
        entries["rgb"] = spaces.Box(
            0, 255, (KINDS[kind].channels, image_size, image_size), np.uint8
        )
    return spaces.Dict(entries)


def low_dim_state(sim: Simulation) -> np.ndarray:
    """What the robot can measure too, (N, 2 J + 6) float32."""
    measured = sim.interface
    tcp_pos, tcp_rot = sim.kinematics.forward(measured.joint_pos)
    return proprioception(measured.joint_pos, measured.joint_vel, tcp_pos, rpy(tcp_rot))


def state_observation(sim: Simulation) -> np.ndarray:
    """`low_dim_state` and the cube's position, (N, 2 J + 9) float32."""
    return np.concatenate([low_dim_state(sim), sim.cube_pos], axis=1, dtype=np.float32)
