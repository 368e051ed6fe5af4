"""A policy on emulated servos, for benchmarks: what many rollouts share, made once."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _audit import Truth, Witness

from robobase.errors import UserError
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.arm.kinematics import Kinematics
from so101_robobase.base.closing import Closing
from so101_robobase.evaluation.policy import load_policy
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
from so101_robobase.robot.loop.arm import assemble_arm
from so101_robobase.robot.loop.arm_loop import Watchdog
from so101_robobase.robot.loop.clock import Clock, RealClock
from so101_robobase.robot.loop.driver import Driver
from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.person.keys import Keys, no_keys
from so101_robobase.robot.real.lerobot_driver import LeRobotDriver
from so101_robobase.robot.real.ports import IDS
from so101_robobase.robot.recording.records import EpisodeListener
from so101_robobase.robot.rollout.picture import Picture
from so101_robobase.robot.rollout.picture_stream import BackgroundPictures, PictureStream
from so101_robobase.robot.rollout.policy_camera import PolicyCamera, SimulatedPolicyCamera
from so101_robobase.robot.rollout.robot_policy import RobotPolicy
from so101_robobase.robot.rollout.rollout import Rollout, RolloutSettings
from so101_robobase.robot.rollout.start_pose import start_pose
from so101_robobase.robot.rollout.workcell import EmulatedWorkcell, Mirror, Workcell
from so101_robobase.robot.safety import watchdog
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.faulty_camera import CameraFaults, FaultyPolicyCamera
from so101_robobase.tasks.lift.config import LiftConfig

POLICY = Path(__file__).parents[1] / "policies" / "whole_task_snapshot.pt"
CAMERA_INTERVAL = 1 / 30  # s, of a usual USB camera


class Loop:
    """Everything of a rollout but the arm and what is seen; the process that may be killed.

    Raises UserError for a snapshot that no robot can use.
    """

    def __init__(self, snapshot: Path, segmentation: str | None = None, depth: str | None = None):
        torch.set_num_threads(1)
        policy = load_policy(snapshot)
        config = LiftConfig.from_cfg(policy.cfg, evaluation=True)
        sight = config.sight
        if segmentation is not None:
            sight = replace(sight, segmentation=segmentation)
        if depth is not None:
            sight = replace(sight, depth=depth)
        self.config = replace(config, sight=sight)
        self.physics = config.build_scene().model
        self.kinematics = Kinematics.from_model(self.physics)
        self.policy = RobotPolicy(policy, self.kinematics)
        self.start = start_pose(config)
        self.clock = RealClock()

    def rollout(
        self,
        driver: Driver,
        stream: PictureStream,
        workcell: Workcell,
        settings: RolloutSettings,
        events: EventLog,
        start_watchdog: Callable[[], Watchdog] | None = None,
        listeners: Sequence[EpisodeListener] = (),
        keys: Keys = no_keys,
        clock: Clock | None = None,
    ) -> Rollout:
        """A fresh one, that says nothing; by this machine's clock unless given another."""
        return Rollout(
            arm=assemble_arm(driver, self.physics, clock or self.clock, events),
            stream=stream,
            policy=self.policy,
            workcell=workcell,
            kinematics=self.kinematics,
            start=self.start,
            settings=settings,
            listeners=listeners,
            start_watchdog=start_watchdog,
            keys=keys,
            say=lambda line: None,
        )


class Rig(Closing):
    """A `Loop`, an emulated arm with its workcell, LeRobot's driver, and a camera that stays open.

    Args:
        folder: for the calibration and the watchdogs' log.
        seed: of cube positions, as in an evaluation.
        corrupt: what to do with the camera before it is used.
    """

    def __init__(
        self,
        loop: Loop,
        folder: Path,
        seed: int = 0,
        corrupt: Callable[[PolicyCamera], PolicyCamera] = lambda camera: camera,
    ):
        self.loop, self.folder = loop, folder
        self._resources = ExitStack()
        self.bus = self._resources.enter_context(
            EmulatedBus(EmulatorConfig(loop.config, seed=seed))
        )
        self.calibration = self.bus.write_calibration(folder, "emulated_arm")
        self.driver = LeRobotDriver(self.bus.port, self.calibration)
        mirror = Mirror(loop.config)
        seen = SimulatedPolicyCamera(
            mirror.sim, mirror.config, loop.clock, partial(mirror.follow, self.bus)
        )
        camera = corrupt(FaultyPolicyCamera(seen, CameraFaults(self.bus.state)))
        self.workcell = EmulatedWorkcell(self.bus, mirror, seed)
        self.stream = KeptStream(lambda: BackgroundPictures(camera, loop.clock, CAMERA_INTERVAL))
        self._resources.callback(self.stream.end)

    def look(self) -> Truth:
        """Where the joints are."""
        return Truth(time.monotonic(), self.bus.state().qpos[:NUM_JOINTS])

    def witness(self, on_connect: Callable[[], object] = lambda: None) -> Witness:
        """Between LeRobot's driver and one rollout."""
        return Witness(self.driver, self.look, on_connect)

    def start_watchdog(self) -> watchdog.WatchdogProcess:
        """As in a rollout from the command line."""
        return watchdog.WatchdogProcess(self.bus.port, IDS, log=self.folder / "watchdog.log")

    def close(self) -> None:
        """End the emulator and the camera."""
        self._resources.close()


class KeptStream:
    """A stream that stays open between rollouts and is made anew once it has failed."""

    def __init__(self, make: Callable[[], PictureStream]):
        self._make = make
        self._stream: PictureStream | None = None
        self._failed = False

    def start(self) -> None:
        if self._stream is None:
            self._stream = self._make()
            self._stream.start()

    def latest(self) -> Picture:
        assert self._stream is not None, "start first"
        try:
            return self._stream.latest()
        except UserError:
            self._failed = True
            raise

    def close(self) -> None:
        if self._failed:
            self.end()

    def end(self) -> None:
        """Close in earnest; may be repeated."""
        stream, self._stream, self._failed = self._stream, None, False
        if stream is not None:
            stream.close()


class StillWorkcell:
    """A table that nobody prepares and on which nothing succeeds."""

    asks = False

    def prepare(self, episode: int) -> None:
        pass

    def succeeded(self) -> bool:
        return False


class StillCamera:
    """A camera with one picture for all times, but for a pixel that says that it is new."""

    def __init__(self, config: LiftConfig, clock: RealClock):
        body = Body(config)
        self._camera = SimulatedPolicyCamera(body.sim, body.config, clock)
        self._clock = clock
        self._picture: np.ndarray | None = None
        self._count = 0

    def open(self) -> None:
        self._camera.open()
        self._picture = self._camera.look().picture

    def look(self) -> Picture:
        assert self._picture is not None, "open first"
        picture = self._picture.copy()
        picture[-1, 0, 0] ^= self._count % 2
        self._count += 1
        return Picture(self._clock.now(), picture, None)

    def close(self) -> None:
        self._camera.close()
