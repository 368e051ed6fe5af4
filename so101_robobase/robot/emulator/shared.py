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


class BusState(NamedTuple):
    """Where the emulated world is."""

    time: float  # of the state
    simulated: float  # s, of physics since the start
    qpos: np.ndarray  # joints rad, the cube's position m and quaternion, marks m
    qvel: np.ndarray  # (6,) rad/s
    target: np.ndarray  # (6,) rad, of servos with torque
    limp: np.ndarray  # (6,) bool, no torque
    alarms: np.ndarray  # (6,) bits of `protocol.Alarm`
    met: bool
    succeeded: bool
    held: float  # s, for how long the goal has been met
    plugged: bool  # the port is there
    slips: int  # how often physics could not keep up
    slipped: float  # s that were left out then
    camera: int  # what is wrong with it: place in `faults.CAMERA`, from 1; 0: nothing
    camera_every: int  # pictures, of which one is spoilt
    packets: int  # instruction packets that arrived whole
    rejected: int  # those that did not
    events: int  # length of the event file


_ARRAYS = {
    "qpos": ("f8", MOST_QPOS),
    "qvel": ("f8", NUM_JOINTS),
    "target": ("f8", NUM_JOINTS),
    "limp": ("?", NUM_JOINTS),
    "alarms": ("u1", NUM_JOINTS),
}
_NUMBERS = {float: "f8", bool: "?", int: "u8"}
STATE = np.dtype(
    [
        ("version", "u8"),  # odd while it is being written
        ("nq", "u1"),  # how many numbers of qpos there are
        *((name, *_ARRAYS[name]) for name in _ARRAYS),
        *((name, _NUMBERS[k]) for name, k in BusState.__annotations__.items() if k in _NUMBERS),
    ]
)

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
