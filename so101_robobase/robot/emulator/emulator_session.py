"""An emulated arm for a person: how to reach it, and how it is."""

import argparse
import sys
import time

import numpy as np

from robobase.errors import UserError
from robobase.reading import read_json
from so101_robobase.robot.emulator.client import BusState, EmulatedBus
from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
from so101_robobase.robot.emulator.protocol import Alarm
from so101_robobase.robot.emulator.schedule import load_schedule
from so101_robobase.tasks.lift.config import LiftConfig

_REFRESH = 0.2  # s


def run_session(args: argparse.Namespace) -> None:
    """Emulate until Ctrl-C, or raise UserError."""
    faults = load_schedule(args.faults) if args.faults else []
    config = EmulatorConfig(LiftConfig(), args.seed, args.arm, faults=faults)

    def starting(waited: float) -> None:
        _rewrite(f"starting … {waited:.0f} s")

    with EmulatedBus(config, args.link, starting) as bus:
        _rewrite("")
        print(_instructions(args, bus))
        try:
            while bus.alive:
                _rewrite(status_line(bus.state()))
                time.sleep(_REFRESH)
        except KeyboardInterrupt:
            print()
            return
        raise UserError("the emulator has stopped by itself; start it again")


def status_line(state: BusState) -> str:
    """How an emulated arm is, in one line."""
    degrees = " ".join(f"{angle:6.1f}" for angle in np.rad2deg(state.qpos[:6]))
    torque = "".join("-" if limp else "T" for limp in state.limp)
    alarms = {
        f"{number}:{Alarm(int(bits)).name or Alarm(int(bits))!s}"
        for number, bits in enumerate(state.alarms, 1)
        if bits
    }
    port = "" if state.plugged else "  UNPLUGGED"
    return (
        f"{state.simulated:7.1f} s  joints {degrees} deg  torque {torque}  "
        f"packets {state.packets}{port}  {' '.join(sorted(alarms)).lower()}"
    )


def _instructions(args: argparse.Namespace, bus: EmulatedBus) -> str:
    where, hint = "", "It needs a calibration: give --calibration_dir for a file that fits.\n"
    if args.calibration_dir is not None:
        path = args.calibration_dir / f"{args.id}.json"
        if path.exists() and read_json(path, what="calibration") != bus.calibration:
            raise UserError(f"{path} is the calibration of another arm; give another --id")
        bus.write_calibration(args.calibration_dir, args.id)
        hint = ""
        where = f" --robot.calibration_dir={args.calibration_dir}"
    return (
        f"An emulated SO-101 listens on {bus.port}. With LeRobot:\n"
        f"  lerobot-teleoperate --robot.type=so101_follower --robot.port={bus.port} "
        f"--robot.id={args.id}{where} ...\n"
        f"{hint}Ctrl-C stops it."
    )


def _rewrite(line: str) -> None:
    """Put `line` in the place of the present one; nothing where there is no terminal."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{line}", end="", flush=True)
