"""An emulated arm for a person: how to reach it, and how it is."""

import sys
import time
from pathlib import Path

import numpy as np

from robobase.errors import UserError
from robobase.reading import read_json
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
from so101_robobase.robot.emulator.protocol import Alarm
from so101_robobase.robot.emulator.shared import BusState

_REFRESH = 0.2  # s


def run_session(config: EmulatorConfig, link: Path, id: str, folder: Path | None) -> None:
    """Emulate at `link` until Ctrl-C, or raise UserError.

    `folder` gets LeRobot's calibration of the arm, which it calls `id`.
    """

    def starting(waited: float) -> None:
        _rewrite(f"starting … {waited:.0f} s")

    with EmulatedBus(config, link, starting) as bus:
        _rewrite("")
        print(_instructions(bus, id, folder))
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
    degrees = " ".join(f"{angle:6.1f}" for angle in np.rad2deg(state.qpos[:NUM_JOINTS]))
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


def _instructions(bus: EmulatedBus, id: str, folder: Path | None) -> str:
    where, hint = "", "It needs a calibration: give --calibration_dir for a file that fits.\n"
    if folder is not None:
        path = folder / f"{id}.json"
        if path.exists() and read_json(path, what="calibration") != bus.calibration:
            raise UserError(f"{path} is the calibration of another arm; give another --id")
        bus.write_calibration(folder, id)
        hint = ""
        where = f" --robot.calibration_dir={folder}"
    return (
        f"An emulated SO-101 listens on {bus.port}. With LeRobot:\n"
        f"  lerobot-teleoperate --robot.type=so101_follower --robot.port={bus.port} "
        f"--robot.id={id}{where} ...\n"
        f"{hint}Ctrl-C stops it."
    )


def _rewrite(line: str) -> None:
    """Put `line` in the place of the present one; nothing where there is no terminal."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{line}", end="", flush=True)
