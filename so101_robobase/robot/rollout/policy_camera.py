"""Cameras that give what the policy sees: a simulated one, or a real one and its networks."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from robobase.errors import UserError
from so101_robobase.envs.observer import Observer, make_observer
from so101_robobase.robot.loop.clock import Clock
from so101_robobase.robot.rollout.picture import Picture
from so101_robobase.sim.sight import SCENE, SIMULATED
from so101_robobase.sim.simulation import Simulation
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.vision.kinds import KINDS, Source

_ONLY = np.array([0])


class PolicyCamera(Protocol):
    """Makes pictures. One thread calls all methods; errors other than UserError are bugs."""

    def open(self) -> None:
        """Get hold of the camera and of whatever belongs to this thread. Raises UserError."""

    def look(self) -> Picture:
        """The newest picture; waits for one if there is none newer. Raises UserError."""

    def close(self) -> None:
        """Let go; may be repeated."""


class Camera(Protocol):
    """A camera of colours."""

    def open(self) -> None:
        """Start it. Raises UserError."""

    def grab(self) -> tuple[float, np.ndarray]:
        """Time of exposure (s, monotonic) and the newest frame (h, w, 3) uint8 BGR."""

    def close(self) -> None:
        """Stop it; never hangs."""


class SimulatedPolicyCamera:
    """The wrist camera of a simulated scene, seen as `config` says (`TaskConfig.sight` included).

    Args:
        sim: one member; what it looks at is its `qpos`.
        update: called before each look, to bring that up to date.
    """

    def __init__(
        self,
        sim: Simulation,
        config: TaskConfig,
        clock: Clock,
        update: Callable[[], None] | None = None,
    ):
        self._sim, self._config, self._clock, self._update = sim, config, clock, update
        self._observer: Observer | None = None

    def open(self) -> None:
        self._observer = make_observer(self._sim, self._config)

    def look(self) -> Picture:
        assert self._observer is not None, "open first"
        if self._update is not None:
            self._update()
        time = self._clock.now()
        return Picture(time, self._observer.observe(_ONLY)["rgb"][0], None)

    def close(self) -> None:
        if self._observer is not None:
            self._observer.close()
            self._observer = None


class RealPolicyCamera:
    """A real camera and the networks that turn its frames into what the policy was trained on.

    Args:
        segmentation: checkpoint of `so101_robobase segmentation train`, for seg and seg_depth.
        depth: name or folder of a depth network, for seg_depth.
        device: of the networks.

    Raises:
        UserError: the policy's observation needs a network that is not named.
    """

    def __init__(
        self,
        camera: Camera,
        config: TaskConfig,
        segmentation: str | None,
        depth: str | None,
        device: str = "cpu",
    ):
        kind = KINDS[config.observation]
        if kind.sees(Source.IDS) and segmentation is None:
            raise UserError(
                f"this policy sees class ids ({kind.name}); name the network that finds them with "
                "--segmentation <checkpoint>"
            )
        if kind.sees(Source.DISPARITY) and depth in (None, SCENE, SIMULATED):
            simulated = (
                "" if depth is None else f"--depth {depth} is the simulator's, a camera has none; "
            )
            raise UserError(
                f"{simulated}this policy sees disparity ({kind.name}): name a depth network or its "
                "folder with --depth, such as depth-anything/Depth-Anything-V2-Small-hf (fetched "
                "once, 100 MB). Where none can be had, use a policy that was trained with "
                "env.observation=seg: it needs class ids alone"
            )
        self._camera, self._kind, self._size = camera, kind, config.image_size
        self._names = segmentation, depth, device
        self._networks: dict[Source, Callable[[np.ndarray], np.ndarray]] = {}

    def open(self) -> None:
        segmentation, depth, device = self._names
        self._networks = {}
        if self._kind.sees(Source.IDS):
            from so101_robobase.perception.segmentation.inference import SegmentationInference

            assert segmentation is not None
            self._networks[Source.IDS] = SegmentationInference(segmentation, device).predict
        if self._kind.sees(Source.DISPARITY):
            from so101_robobase.perception.depth import DepthInference

            assert depth is not None
            self._networks[Source.DISPARITY] = DepthInference(depth, device).predict
        self._camera.open()

    def look(self) -> Picture:
        time, frame = self._camera.grab()
        seen = {source: network(frame) for source, network in self._networks.items()}
        seen[Source.COLORS] = frame[..., ::-1]
        picture = self._kind.picture(seen, self._size)
        return Picture(time, picture, frame)

    def close(self) -> None:
        self._camera.close()
