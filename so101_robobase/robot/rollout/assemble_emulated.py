"""`--robot emulated`: LeRobot's driver on emulated servos, whose arm is simulated in real time."""

import argparse
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from robobase.errors import UserError
from so101_robobase.alignment import Alignment
from so101_robobase.config import LiftConfig
from so101_robobase.joints import NUM_JOINTS
from so101_robobase.robot import extras
from so101_robobase.robot.arm_loop import Watchdog
from so101_robobase.robot.clock import RealClock
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.config import EmulatorConfig
from so101_robobase.robot.real.lerobot_driver import LeRobotDriver
from so101_robobase.robot.rollout.assemble_real import watchdog_of
from so101_robobase.robot.rollout.session import Parts
from so101_robobase.robot.rollout.sight import BackgroundSight, SimulatedEyes
from so101_robobase.robot.simulated.body import Body
from so101_robobase.sim.scene import SUBSTEPS

RESTING = (0.0, -1.7, 1.6, 0.8, 0.0, 0.0)
"""rad: folded above the table, as a person leaves an arm."""

_CAMERA_INTERVAL = 1 / 30  # s, of a usual USB camera


def assemble(
    args: argparse.Namespace,
    config: LiftConfig,
    alignment: Alignment,
    folder: Path,
    resources: ExitStack,
) -> Parts:
    """The parts of a rollout on emulated servos."""
    extras.require("lerobot")  # now, not after the emulator's start
    print("starting the emulated servos, which takes some seconds", flush=True)
    bus = EmulatedBus(EmulatorConfig(lift=config, seed=args.seed, pose=RESTING))
    resources.callback(bus.close)
    calibration = bus.write_calibration(folder, "emulated_arm")
    clock = RealClock()
    mirror = Mirror(config)
    eyes = SimulatedEyes(mirror.task, clock, partial(mirror.follow, bus))
    start_watchdog = watchdog_of(bus.port, folder)

    def start_dismissed_watchdog() -> Watchdog:
        watchdog = start_watchdog()
        resources.callback(watchdog.dismiss)  # its port ends with the emulator, whatever happens
        return watchdog

    return Parts(
        driver=LeRobotDriver(bus.port, calibration),
        clock=clock,
        sight=BackgroundSight(eyes, clock, _CAMERA_INTERVAL),
        scene=EmulatedScene(bus, mirror, args.seed),
        start_watchdog=start_dismissed_watchdog,
        alignment=Alignment(camera=alignment.camera, servos=alignment.servos),
        state=lambda: {"cube": bus.state().qpos[NUM_JOINTS:].tolist()},
        what=f"LeRobot's driver on emulated servos at {bus.port}",
    )


class Mirror(Body):
    """Where the emulated arm and its cube are, to be looked at; of the thread that looks."""

    def __init__(self, config: LiftConfig):
        super().__init__(config)
        self._next: int | None = None
        self._began = 0.0  # s of the emulator's physics

    def change(self, seed: int) -> None:
        """Have the looks of episode `seed` from the next `follow` on; may come from any thread."""
        self._next = seed

    def follow(self, bus: EmulatedBus) -> None:
        """Go where the emulated arm is."""
        state = bus.state()
        if (seed := self._next) is not None:
            self._next = None
            self.place_cube(seed)
            self._began = state.simulated
        self.task.qpos[0] = state.qpos
        seconds = max(0.0, state.simulated - self._began)
        self.task.episode_steps[0] = int(seconds / (SUBSTEPS * self.timestep))


class EmulatedScene:
    """The table in the emulator; cube positions are those of evaluation episodes from `seed`."""

    asks = False

    def __init__(self, bus: EmulatedBus, mirror: Mirror, seed: int):
        self._bus, self._mirror, self._seed = bus, mirror, seed

    def prepare(self, episode: int) -> None:
        seed = self._seed + episode
        try:
            self._bus.place_cube(seed)
        except RuntimeError as error:  # it has died
            raise UserError(str(error)) from error
        self._mirror.change(seed)

    def succeeded(self) -> bool:
        return self._bus.state().succeeded
