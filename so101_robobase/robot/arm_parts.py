"""The arm below a loop, real, emulated or simulated: driver, clock, watchdog and units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robobase.errors import UserError
from so101_robobase.arm.alignment import Alignment
from so101_robobase.arm.model import SO101
from so101_robobase.base.extras import require_robot
from so101_robobase.robot.emulator.faults import JOINT, Fault
from so101_robobase.robot.loop.arm_loop import NoWatchdog, Watchdog
from so101_robobase.robot.loop.clock import Clock, RealClock
from so101_robobase.robot.loop.driver import Driver
from so101_robobase.robot.person.hints import REAL_ARM, SIMULATED_ARM, OperatorHints, hints_for
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.tasks.config import TaskConfig

if TYPE_CHECKING:
    from so101_robobase.robot.emulator.client import EmulatedBus

RESTING = SO101.each("rest")
"""rad: folded above the table, as a person leaves an arm."""


@dataclass(frozen=True)
class ArmParts:
    """What differs between a real, an emulated and a simulated arm."""

    driver: Driver
    clock: Clock
    start_watchdog: Callable[[], Watchdog]  # called before the driver is connected
    alignment: Alignment  # of this arm's servo units with the model
    what: str  # a line about it for people
    hints: OperatorHints  # what they are told to do with it


def simulated_arm(body: Body, alignment: Alignment, faults: Sequence[Fault] = ()) -> ArmParts:
    """The arm of `body`, in step with the loop, as fast as this machine allows.

    Raises UserError for `faults` that are not of joints.
    """
    driver = SimulatedDriver(body, alignment)
    for fault in faults:
        if fault.kind not in JOINT:
            raise UserError(
                f"fault {fault.kind}: with --robot sim only joints have faults: {', '.join(JOINT)}"
            )
        driver.faults.inject(fault, driver.clock.now())
    return ArmParts(
        driver=driver,
        clock=driver.clock,
        start_watchdog=NoWatchdog,
        alignment=alignment,
        what="simulated (MuJoCo), in step with the loop",
        hints=SIMULATED_ARM,
    )


def emulated_arm(
    config: TaskConfig, seed: int, alignment: Alignment, folder: Path, resources: ExitStack
) -> tuple[ArmParts, EmulatedBus]:
    """LeRobot's driver on emulated servos, whose arm is simulated in real time, and their bus.

    Args:
        folder: for the emulated arm's calibration and the watchdog's log.
        resources: end the emulator when they are closed.

    Raises:
        UserError: LeRobot is missing.
    """
    require_robot("lerobot")  # now, not after the emulator's start
    from so101_robobase.robot.emulator.client import EmulatedBus
    from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
    from so101_robobase.robot.real.lerobot_driver import LeRobotDriver

    print("starting the emulated servos, which takes some seconds", flush=True)
    bus = EmulatedBus(EmulatorConfig(config, seed=seed, pose=RESTING))
    resources.callback(bus.close)
    start = _watchdog_of(bus.port, folder)

    def start_dismissed_watchdog() -> Watchdog:
        watchdog = start()
        resources.callback(watchdog.dismiss)  # its port ends with the emulator, whatever happens
        return watchdog

    arm = ArmParts(
        driver=LeRobotDriver(bus.port, bus.write_calibration(folder, "emulated_arm")),
        clock=RealClock(),
        start_watchdog=start_dismissed_watchdog,
        # Emulated servos are put together as the model's.
        alignment=Alignment(camera=alignment.camera, servos=alignment.servos),
        what=f"LeRobot's driver on emulated servos at {bus.port}",
        hints=hints_for(bus.port),
    )
    return arm, bus


def real_arm(port: str, calibration: Path, alignment: Alignment, folder: Path) -> ArmParts:
    """The arm on serial port `port`; the watchdog's log goes to `folder`.

    Raises:
        UserError: LeRobot is missing, the port cannot be opened, or the servos there are not those
            of `calibration`.
    """
    require_robot("lerobot")
    from so101_robobase.robot.real.lerobot_driver import LeRobotDriver

    hints = hints_for(port)
    driver = LeRobotDriver(port, calibration)
    try:
        driver.bus.open()
        driver.check_servos()
    finally:
        driver.close()
    return ArmParts(
        driver=driver,
        clock=RealClock(),
        start_watchdog=_watchdog_of(port, folder),
        alignment=alignment,
        what=f"SO-101 at {port}" if hints is REAL_ARM else f"an emulated SO-101 at {port}",
        hints=hints,
    )


def _watchdog_of(port: str, folder: Path) -> Callable[[], Watchdog]:
    """Starts the process that turns torque off at `port` if this one dies; or raises UserError."""

    def start() -> Watchdog:
        from so101_robobase.robot.real.ports import IDS
        from so101_robobase.robot.safety import watchdog

        try:
            return watchdog.WatchdogProcess(port, IDS, log=folder / "watchdog.log")
        except (OSError, RuntimeError) as error:
            raise UserError(f"the arm cannot be watched over: {error}") from error

    return start
