"""Which faults come to rollouts, and in which order."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robobase.errors import UserError
from so101_robobase.robot.emulator.faults import CAMERA, KINDS, Fault
from so101_robobase.robot.emulator.schedule import draw_schedule
from so101_robobase.robot.rollout.picture import Picture
from so101_robobase.robot.rollout.policy_camera import PolicyCamera

HANG, LOST, KILL, STOP = "camera hangs", "camera lost", "SIGKILL", "SIGSTOP"
OF_CAMERA, OF_PROCESS = (HANG, LOST), (KILL, STOP)
ALL: Sequence[str] = (*KINDS, *CAMERA, *OF_CAMERA, *OF_PROCESS)
AT_CONNECT = ("model", "firmware")  # nobody asks for these later
ONE_IN = 25  # faults, of which one concerns the process

_GAP = 1.0  # s; faults last up to half of it


@dataclass(frozen=True)
class Planned:
    """One fault; `start` and `duration` in s."""

    kind: str
    start: float  # from the moment at which the arm is connected, or connecting
    duration: float
    fault: Fault | None  # for the emulator
    connecting: bool  # comes while the arm is being connected


def plan(number: int, seed: int) -> list[Planned]:
    """`number` faults in random order, all kinds equally often but those of the process."""
    rng = np.random.default_rng(seed)
    of_process = [OF_PROCESS[k % 2] for k in range(number // ONE_IN)]
    others = [*KINDS, *CAMERA, *OF_CAMERA]
    kinds = [*of_process, *(others[k % len(others)] for k in range(number - len(of_process)))]
    planned = []
    for kind in rng.permutation(kinds):
        start, duration = rng.uniform(0.05, 1.2), rng.uniform(0.05, _GAP / 2)
        if kind in CAMERA:
            # Shown to the end: until the loop stops.
            # All are spoilt, or every second or third; those that are frozen are all alike.
            every = None if kind == "camera_frozen" else float(rng.integers(1, 4))
            fault = Fault(str(kind), start=round(start, 3), value=every)
            planned.append(Planned(str(kind), start, 2 * _GAP, fault, False))
            continue
        if kind not in KINDS:
            # A kill may come before the watchdog is there; a camera may hang for longer.
            start = start - 0.05 if kind in OF_PROCESS else start
            longer = 2 * duration if kind == HANG else duration
            planned.append(Planned(str(kind), start, longer, None, False))
            continue
        fault = draw_schedule(int(rng.integers(2**31)), 1, _GAP, [str(kind)])[0]
        assert fault.duration is not None
        connecting = kind in AT_CONNECT or rng.random() < 0.1
        if kind in AT_CONNECT:
            start, fault = 0.0, replace(fault, duration=None)
        elif connecting:
            start = rng.uniform(0, 0.05)
        fault = replace(fault, start=round(start, 3))
        planned.append(Planned(str(kind), start, fault.duration or _GAP, fault, connecting))
    return planned


def is_out_of_reach(planned: Planned) -> bool:
    """Whether servos cannot be told anything while the fault lasts."""
    fault = planned.fault
    if fault is None or fault.kind not in ("unplug", "lose"):
        return False
    return fault.probability == 1 and fault.count is None


class HangingCamera:
    """PolicyCamera that hang, or are lost, from `since` to `until`."""

    def __init__(self, camera: PolicyCamera):
        self._camera = camera
        self.heal()

    def heal(self) -> None:
        self.since, self.until, self.lost = np.inf, -np.inf, False
        self.struck: float | None = None

    def corrupt(self, start: float, duration: float, lost: bool) -> None:
        self.since, self.lost = time.monotonic() + start, lost
        self.until = self.since + duration

    def open(self) -> None:
        self._camera.open()

    def look(self) -> Picture:
        now = time.monotonic()
        if self.since <= now < self.until:
            self.struck = self.struck or now
            if self.lost:
                raise UserError("the camera is lost")
            time.sleep(self.until - now)
        return self._camera.look()

    def close(self) -> None:
        self._camera.close()
