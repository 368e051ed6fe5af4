"""What an emulator shows its user without being asked: its state, and all goals that arrived.

Two files in its folder: one is mapped into memory by both sides, one only ever grows. Times are of
this machine's monotonic clock, in s.
"""

import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from so101_robobase.arm.joints import NUM_JOINTS

STATE_FILE, EVENT_FILE, CONFIG_FILE = "state", "events", "config.json"
MOST_QPOS = NUM_JOINTS + 7 + 6  # with three marks on the table

STATE = np.dtype(
    [
        ("version", "u8"),  # odd while it is being written
        ("time", "f8"),  # of the state
        ("simulated", "f8"),  # s, of physics since the start
        ("qpos", "f8", MOST_QPOS),  # joints rad, the cube's position m and quaternion, marks m
        ("nq", "u1"),  # how many of these there are
        ("qvel", "f8", NUM_JOINTS),  # rad/s
        ("target", "f8", NUM_JOINTS),  # rad, of servos with torque
        ("limp", "?", NUM_JOINTS),  # no torque
        ("alarms", "u1", NUM_JOINTS),  # bits of `protocol.Alarm`
        ("met", "?"),
        ("succeeded", "?"),
        ("held", "f8"),  # s, for how long the goal has been met
        ("plugged", "?"),  # the port is there
        ("slips", "u8"),  # how often physics could not keep up
        ("slipped", "f8"),  # s that were left out then
        ("camera", "u1"),  # what is wrong with it: place in `faults.CAMERA`, from 1; 0: nothing
        ("camera_every", "u2"),  # pictures, of which one is spoilt
        ("packets", "u8"),  # instruction packets that arrived whole
        ("rejected", "u8"),  # those that did not
        ("events", "u8"),  # length of the event file
    ]
)


class BusState(NamedTuple):
    """Where the emulated world is; fields as in `STATE`."""

    time: float
    simulated: float
    qpos: np.ndarray
    qvel: np.ndarray
    target: np.ndarray
    limp: np.ndarray
    alarms: np.ndarray
    met: bool
    succeeded: bool
    held: float
    plugged: bool
    slips: int
    slipped: float
    camera: int
    camera_every: int
    packets: int
    rejected: int
    events: int


GOAL, LIMP = 0, 1
EVENT = np.dtype(
    [
        ("time", "f8"),
        ("kind", "u1"),  # GOAL: a goal arrived at a servo; LIMP: a servo lost or got torque
        ("joint", "u1"),  # index into JOINTS
        ("value", "i4"),  # GOAL: the position as sent, counts; LIMP: 1 without torque, else 0
        ("angle", "f8"),  # rad; GOAL: of that position, not clamped; LIMP: of the joint
    ]
)


class StateWriter:
    """The emulator's side of the state."""

    def __init__(self, folder: Path):
        np.zeros(1, STATE).tofile(folder / STATE_FILE)
        self._shared = np.asarray(np.memmap(folder / STATE_FILE, STATE, "r+"))

    def write(self, state: np.ndarray) -> None:
        """Publish `state` (1,) of type `STATE`; its version is set here."""
        version = int(self._shared["version"][0])
        self._shared["version"] = version + 1
        state["version"] = version + 1
        self._shared[:] = state
        self._shared["version"] = version + 2


class StateReader:
    """The user's side of the state."""

    def __init__(self, folder: Path):
        self._shared = np.asarray(np.memmap(folder / STATE_FILE, STATE, "r"))

    def read(self) -> BusState:
        """The newest state, whole. Raises TimeoutError if its writer died while writing."""
        give_up = time.monotonic() + 1
        while True:
            before = int(self._shared["version"][0])
            state = self._shared[0].copy()
            if before % 2 == 0 and before == int(self._shared["version"][0]):
                values = (state[name] for name in BusState._fields)
                found = BusState._make(v if isinstance(v, np.ndarray) else v.item() for v in values)
                return found._replace(qpos=found.qpos[: state["nq"]])
            if time.monotonic() > give_up:
                raise TimeoutError("the emulator's state is torn: it died while writing")
            time.sleep(0)


class EventWriter:
    """Appends events; each is in the file when `add` returns."""

    def __init__(self, folder: Path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(folder / EVENT_FILE, flags, 0o600)
        self.count = 0

    def add(self, kind: int, joint: int, value: int, angle: float) -> None:
        """One event, now."""
        event = np.array((time.monotonic(), kind, joint, value, angle), EVENT)
        os.write(self._file, event.tobytes())
        self.count += 1


def read_events(folder: Path) -> np.ndarray:
    """All events so far (n,) of type `EVENT`."""
    data = (folder / EVENT_FILE).read_bytes()
    return np.frombuffer(data[: len(data) // EVENT.itemsize * EVENT.itemsize], EVENT)
