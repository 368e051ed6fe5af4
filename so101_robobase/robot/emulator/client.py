"""Starts an emulator process and talks to it."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from robobase.errors import UserError
from so101_robobase.base.closing import Closing
from so101_robobase.robot.emulator.control_socket import SOCKET_FILE, ControlClient
from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
from so101_robobase.robot.emulator.faults import Fault
from so101_robobase.robot.emulator.servo_calibration import write_calibration
from so101_robobase.robot.emulator.shared import EVENT, GOAL, BusState, StateReader, read_events

_START = 180.0  # s, at most; a busy machine needs many for the scene
_STOP = 5.0  # s, before a process that does not end is killed
_STEP = 0.5  # s, between two reports of progress


class EmulatedBus(Closing):
    """An emulated arm in a process of its own; ends with this object or its process.

    Args:
        config: the arm and its surroundings.
        link: path of the port; None: in a temporary folder.
        progress: called with seconds since the start while the process gets ready.

    Attributes:
        port: path that LeRobot's driver takes as its port. It stays the same over `unplug`.
        calibration: LeRobot's calibration of this arm, motor -> entry.

    Raises UserError for what the user can mend, RuntimeError if the process does not start.
    """

    def __init__(
        self,
        config: EmulatorConfig,
        link: Path | None = None,
        progress: Callable[[float], None] | None = None,
    ):
        self._temporary = tempfile.TemporaryDirectory(prefix="so101_emulator_")
        self._folder = Path(self._temporary.name)
        self.port = str(link or self._folder / "port")
        self._events = np.zeros(0, EVENT)
        self._closed = False
        self._control: ControlClient | None = None
        self._log = open(self._folder / "log", "wb")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", __package__, self.port, str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            self.calibration: dict[str, dict[str, int]] = self._await_ready(config, progress)
            self._control = ControlClient(self._folder / SOCKET_FILE)
            self._state = StateReader(self._folder)
        except BaseException:
            self._process.terminate()  # it may be at work on its scene, and hear nothing else
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the emulator's process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def state(self) -> BusState:
        """The newest state; costs microseconds and does not disturb the emulator."""
        return self._state.read()

    def events(self) -> np.ndarray:
        """Goals and changes of torque so far, (n,) of type `shared.EVENT`; also after `close`."""
        return self._events if self._closed else read_events(self._folder)

    def commands(self) -> np.ndarray:
        """All goals that reached servos, (n,) of type `shared.EVENT`; angles are not clamped."""
        events = self.events()
        return events[events["kind"] == GOAL]

    def place_cube(self, seed: int) -> None:
        """The cube alone as episode `seed` has it."""
        self._ask("place_cube", seed=seed)

    def begin(self, seed: int) -> None:
        """Arm and cube as episode `seed` begins; servos with torque hold that pose."""
        self._ask("begin", seed=seed)

    def guide(self, goals: Mapping[str, float], seconds: float = 1.0) -> None:
        """Let a hand bring joints without torque to their goals, rad. Raises ValueError."""
        self._ask("hand", goals=dict(goals), seconds=seconds)

    def inject(self, *faults: Fault) -> list[int]:
        """Let faults come, each `fault.start` s from now; their numbers. They are there at once."""
        return self._ask("inject", faults=[asdict(fault) for fault in faults])["numbers"]

    def clear(self, number: int | None = None) -> None:
        """End one fault or all."""
        self._ask("clear", number=number)

    def faults(self) -> list[dict[str, Any]]:
        """All that were injected: fields of `Fault`, number, begins, over, struck, first."""
        return self._ask("faults")["faults"]

    def write_calibration(self, folder: Path, name: str) -> Path:
        """Write LeRobot's `<name>.json` into `folder` (its `calibration_dir`); the path."""
        path = folder / f"{name}.json"
        write_calibration(self.calibration, path)
        return path

    def close(self) -> None:
        """End the process; may be repeated."""
        if self._closed:
            return
        if self._control is not None:
            with contextlib.suppress(OSError, ValueError):
                self._control.ask("quit")
            self._control.close()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        with contextlib.suppress(FileNotFoundError):
            self._events = read_events(self._folder)
        self._closed = True
        self._log.close()
        self._temporary.cleanup()

    def _ask(self, do: str, **request: Any) -> dict[str, Any]:
        assert self._control is not None
        try:
            return self._control.ask(do, **request)
        except OSError as error:
            raise RuntimeError(f"the emulator does not answer: {error}{self._said()}") from error

    def _await_ready(
        self, config: EmulatorConfig, progress: Callable[[float], None] | None
    ) -> dict[str, dict[str, int]]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.write(config.to_json().encode() + b"\n")
            stdin.flush()
        began = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not selector.select(_STEP):
                waited = time.monotonic() - began
                if waited > _START:
                    raise RuntimeError(f"the emulator was not ready in {_START:.0f} s")
                if progress is not None:
                    progress(waited)
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"the emulator did not start{self._said()}")
        reply: Mapping[str, Any] = json.loads(line)
        if "error" in reply:
            raise UserError(reply["error"])
        return reply["calibration"]

    def _said(self) -> str:
        """The end of what the process wrote to stderr."""
        lines: Iterable[str] = (self._folder / "log").read_text(errors="replace").splitlines()
        tail = "; ".join(list(lines)[-3:])
        return f": {tail}" if tail else ""
