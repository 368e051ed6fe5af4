"""`--robot emulated`: LeRobot's driver on emulated servos, whose arm is simulated in real time."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from so101_robobase.config import LiftConfig
from so101_robobase.joints import NUM_JOINTS
from so101_robobase.robot.alignment import Alignment
from so101_robobase.robot.assemble_real import watchdog_of
from so101_robobase.robot.body import Body
from so101_robobase.robot.clock import RealClock
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.config import EmulatorConfig
from so101_robobase.robot.lerobot_driver import LeRobotDriver
from so101_robobase.robot.monitor import STIFF_SERVOS
from so101_robobase.robot.session import Parts
from so101_robobase.robot.sight import BackgroundSight, SimulatedEyes
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
    bus = EmulatedBus(EmulatorConfig(lift=config, seed=args.seed, pose=RESTING))
    resources.callback(bus.close)
    calibration = bus.write_calibration(folder, "emulated_arm")
    clock = RealClock()
    mirror = Body(config)
    eyes = SimulatedEyes(mirror.task, clock, follow(mirror, bus))
    return Parts(
        driver=LeRobotDriver(bus.port, calibration),
        clock=clock,
        sight=BackgroundSight(eyes, clock, _CAMERA_INTERVAL),
        scene=EmulatedScene(bus, mirror, args.seed),
        start_watchdog=watchdog_of(bus.port, folder),
        monitor=STIFF_SERVOS,
        state=lambda: {"cube": bus.state().qpos[NUM_JOINTS:].tolist()},
        frame_size=None,
        what=f"LeRobot's driver on emulated servos at {bus.port}",
    )


class EmulatedScene:
    """The table in the emulator; cube positions are those of evaluation episodes from `seed`."""

    asks = False

    def __init__(self, bus: EmulatedBus, mirror: Body, seed: int):
        self._bus, self._mirror, self._seed = bus, mirror, seed

    def prepare(self, episode: int) -> None:
        self._mirror.place_cube(self._seed + episode)  # the looks, where they vary
        self._bus.place_cube(self._seed + episode)

    def succeeded(self) -> bool:
        return self._bus.state().succeeded


def follow(mirror: Body, bus: EmulatedBus) -> Callable[[], None]:
    """Brings `mirror` to where the emulated arm and its cube are."""

    def update() -> None:
        state = bus.state()
        mirror.task.qpos[0] = state.qpos
        mirror.task.episode_steps[0] = int(state.simulated / (SUBSTEPS * mirror.timestep))

    return update
