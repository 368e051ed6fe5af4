"""Pictures for the policy: made when asked for, or in a thread of their own, the newest wins."""

import atexit
import threading
from collections.abc import Callable
from typing import Protocol

import numpy as np

from robobase.errors import UserError
from so101_robobase.envs.observer import Observer, make_observer
from so101_robobase.robot.loop.clock import Clock
from so101_robobase.robot.rollout.frame_watch import FrameWatch
from so101_robobase.robot.rollout.picture import Picture
from so101_robobase.sim.sight import SCENE, SIMULATED
from so101_robobase.sim.simulation import Simulation
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.vision.observation import rgb, seg, seg_depth

_ONLY = np.array([0])


class Eyes(Protocol):
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


class SimulatedEyes:
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


class CameraEyes:
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
        kind = config.observation
        if kind in ("seg", "seg_depth") and segmentation is None:
            raise UserError(
                f"this policy sees class ids ({kind}); name the network that finds them with "
                "--segmentation <checkpoint>"
            )
        if kind == "seg_depth" and depth in (None, SCENE, SIMULATED):
            simulated = (
                "" if depth is None else f"--depth {depth} is the simulator's, a camera has none; "
            )
            raise UserError(
                f"{simulated}this policy sees disparity (seg_depth): name a depth network or its "
                "folder with --depth, such as depth-anything/Depth-Anything-V2-Small-hf (fetched "
                "once, 100 MB). Where none can be had, use a policy that was trained with "
                "env.observation=seg: it needs class ids alone"
            )
        self._camera, self._kind, self._size = camera, kind, config.image_size
        self._names = segmentation, depth, device
        self._networks: list[Callable[[np.ndarray], np.ndarray]] = []

    def open(self) -> None:
        segmentation, depth, device = self._names
        self._networks = []
        if self._kind in ("seg", "seg_depth"):
            from so101_robobase.perception.segmentation.inference import SegmentationInference

            assert segmentation is not None
            self._networks.append(SegmentationInference(segmentation, device).predict)
        if self._kind == "seg_depth":
            from so101_robobase.perception.depth import DepthInference

            assert depth is not None
            self._networks.append(DepthInference(depth, device).predict)
        self._camera.open()

    def look(self) -> Picture:
        time, frame = self._camera.grab()
        seen = [network(frame) for network in self._networks]
        if self._kind == "rgb":
            picture = rgb(np.ascontiguousarray(frame[..., ::-1]), self._size)
        elif self._kind == "seg":
            picture = seg(seen[0], self._size)
        else:
            picture = seg_depth(seen[0], seen[1], self._size)
        return Picture(time, picture, frame)

    def close(self) -> None:
        self._camera.close()


class Sight(Protocol):
    """What the loop asks for pictures."""

    def start(self) -> None:
        """Begin to look; returns when the first picture is there. May be repeated, not after
        `close`. Raises UserError."""

    def latest(self) -> Picture:
        """The newest picture, at once; its time says how old it is. Raises UserError."""

    def close(self) -> None:
        """Stop looking."""


class PromptSight:
    """Looks when asked, in the caller's thread: for clocks that stand still meanwhile."""

    def __init__(self, eyes: Eyes):
        self._eyes, self._watch = eyes, FrameWatch()
        self._open = False

    def start(self) -> None:
        if not self._open:
            self._eyes.open()
            self._open = True

    def latest(self) -> Picture:
        return self._watch.note(self._eyes.look())

    def close(self) -> None:
        self._eyes.close()


class BackgroundSight:
    """Looks all the time in a thread; whoever asks gets the newest, never waits.

    Args:
        interval: least time between two looks, s, so that a quick source leaves the cores alone.
        patience: how long `start` waits for the first picture, s. Cameras and networks have limits
            of their own; a network may have to be downloaded.
    """

    def __init__(self, eyes: Eyes, clock: Clock, interval: float = 0.0, patience: float = 600.0):
        self._eyes, self._watch, self._clock = eyes, FrameWatch(), clock
        self._interval, self._patience = interval, patience
        self._newest: Picture | None = None
        self._error: UserError | None = None
        self._first = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sight", daemon=True)

    def start(self) -> None:
        if self._thread.ident is None:
            self._thread.start()
        if not self._first.wait(self._patience):
            raise UserError(f"no picture within {self._patience:g} s; check the camera")
        if self._error is not None:
            raise self._error
        # Before OpenGL is taken from a thread that draws: exit handlers run last in, first out.
        atexit.register(self.close)

    def latest(self) -> Picture:
        if self._error is not None:
            raise self._error
        assert self._newest is not None, "start first"
        return self._newest

    def close(self) -> None:
        atexit.unregister(self.close)
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def _run(self) -> None:
        try:
            self._eyes.open()
            while not self._stop.is_set():
                due = self._clock.now() + self._interval
                self._newest = self._watch.note(self._eyes.look())
                self._first.set()
                self._clock.wait_until(due)
        except UserError as error:
            self._error = error
        except Exception as error:
            self._error = UserError(
                f"the camera's pictures stopped: {type(error).__name__}: {error}"
            )
        finally:
            self._first.set()
            self._eyes.close()
