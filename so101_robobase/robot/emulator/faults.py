"""Faults of an emulated arm: what they are, when they strike, and what they do to servos."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from robobase.errors import UserError
from so101_robobase.robot.emulator.protocol import NO_ALARM, Alarm
from so101_robobase.robot.emulator.registers import REGISTERS
from so101_robobase.robot.emulator.servo import NORMAL, VOLTAGE, Conditions


class Kind(NamedTuple):
    """What a kind of fault does and what its value means."""

    does: str
    value: float = 0.0  # where a fault gives none
    lowest: float = 0.0
    highest: float = 0.0
    per_packet: bool = False  # strikes packets; the others are there while they last


KINDS = {
    "drop": Kind("an answer is not sent", per_packet=True),
    "delay": Kind("an answer is late by value s", 0.1, 0.0, 10.0, per_packet=True),
    "corrupt": Kind("value bits of an answer are flipped", 1, 1, 48, per_packet=True),
    "duplicate": Kind("an answer is sent twice", per_packet=True),
    "truncate": Kind("value bytes of an answer are sent", 4, 0, 255, per_packet=True),
    "lose": Kind("an instruction does not arrive", per_packet=True),
    "dead": Kind("a servo has no power: it is limp and silent, and its RAM is lost"),
    "model": Kind("the model number reads value", 1284, 0, 65535),
    "firmware": Kind("the minor firmware version reads value", 9, 0, 255),
    "overload": Kind("a servo complains of overload and gives way"),
    "overcurrent": Kind("a servo complains of its current and gives way"),
    "angle": Kind("a servo complains of its encoder"),
    "overheat": Kind("a servo is value degrees Celsius warm", 85, -20, 255),
    "low_voltage": Kind("the supply has value V", 3.5, 0, 25.5),
    "brown_out": Kind("the supply is gone: RAM is lost, torque is off when it returns"),
    "unplug": Kind("the port is gone; servos go on"),
}
"""By name: of bus and servos."""

CAMERA = {
    "camera_frozen": Kind("the camera gives the picture that it gave last"),
    "camera_black": Kind("every value-th picture is black", 1, 1, 100),
    "camera_white": Kind("every value-th picture is overexposed", 1, 1, 100),
    "camera_flat": Kind("every value-th picture is of one colour", 1, 1, 100),
    "camera_torn": Kind("the lower half of every value-th picture is green", 1, 1, 100),
    "camera_stuck_rows": Kind("in every value-th picture one row goes on downwards", 1, 1, 100),
}
"""By name: of the wrist camera; whoever looks through it spoils its pictures accordingly."""

JOINT = {
    "offset": Kind("an encoder shows value rad more than there are", 0.3, -6.3, 6.3),
    "drift": Kind("an encoder shows value rad more every second", 0.1, -10, 10),
    "frozen": Kind("an encoder goes on showing where the joint was; the servo drives by it"),
    "mirrored": Kind("encoder and motor are turned round: they say and take the angle negated"),
    "gain": Kind("a joint turns value times as far as it is told", 0.5, 0, 3),
    "reversed": Kind("a joint turns the other way than it is told"),
    "runaway": Kind("a joint turns value rad every second, whatever it is told", 0.5, -5, 5),
    "weak": Kind("a servo has value of its torque", 0.1, 0, 1),
}
"""By name: of joints, from where they are when it begins; never drawn at random."""

SILENT = {"register": Kind("the register of that name keeps value", 0, 0, 65535)}
"""By name: what servos know nothing of; never drawn at random."""

_ALL = {**KINDS, **CAMERA, **JOINT, **SILENT}


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: one of `KINDS`, `CAMERA`, `JOINT` or `SILENT`.
        servos: ids that it concerns; None: all of them.
        probability: that it strikes a packet.
        count: of packets that it strikes at most; None: no bound.
        start: s from its injection until it begins.
        duration: s that it lasts; None: until it is cleared.
        value: see there; None: the value there.
        register: name of the one that a fault of that kind changes, as LeRobot calls it.
    """

    kind: str
    servos: Sequence[int] | None = None
    probability: float = 1.0
    count: int | None = None
    start: float = 0.0
    duration: float | None = None
    value: float | None = None
    register: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in _ALL:
            raise UserError(f"fault kind {self.kind!r} is unknown; known: {', '.join(_ALL)}")
        kind = _ALL[self.kind]
        if self.servos is not None and not all(0 <= servo < 254 for servo in self.servos):
            raise UserError(f"fault {self.kind}: servos={self.servos} must be ids from 0 to 253")
        if not 0 < self.probability <= 1:
            raise UserError(f"fault {self.kind}: probability={self.probability} must be in (0, 1]")
        if self.count is not None and self.count < 1:
            raise UserError(f"fault {self.kind}: count={self.count} must be at least 1")
        if not 0 <= self.start < np.inf:
            raise UserError(f"fault {self.kind}: start={self.start} must be 0 or more seconds")
        if self.duration is not None and not self.duration > 0:
            raise UserError(f"fault {self.kind}: duration={self.duration} must be above 0 seconds")
        if self.value is not None and not kind.lowest <= self.value <= kind.highest:
            raise UserError(
                f"fault {self.kind}: value={self.value} must be from {kind.lowest} to "
                f"{kind.highest}"
            )
        if (self.kind == "register") != (self.register is not None):
            raise UserError(f"fault {self.kind}: register={self.register} goes with kind register")
        if self.register is not None and self.register not in REGISTERS:
            raise UserError(
                f"fault register: {self.register!r} is unknown; known: {', '.join(REGISTERS)}"
            )

    def amount(self) -> float:
        """`value`, or the kind's own."""
        return _ALL[self.kind].value if self.value is None else self.value

    def concerns(self, servo: int) -> bool:
        """Whether the servo with this id is among `servos`."""
        return self.servos is None or servo in self.servos


@dataclass
class _Injected:
    """A fault with its times, s of the monotonic clock."""

    number: int
    fault: Fault
    begins: float
    ends: float
    over: bool = False
    struck: int = 0
    first: float | None = None  # when it first struck

    @property
    def spent(self) -> bool:
        """Whether it has struck as many packets as it may."""
        count = self.fault.count
        return _ALL[self.fault.kind].per_packet and count is not None and self.struck >= count

    def strike(self, now: float) -> None:
        self.struck += 1
        if self.first is None:
            self.first = now


class Faults:
    """Everything that was injected; times are of the monotonic clock, s."""

    def __init__(self, seed: int = 0):
        self._rng = np.random.default_rng(seed)
        self._all: list[_Injected] = []
        self._waiting: list[tuple[float, int]] = []  # heap of (begins, number)
        self._present: list[_Injected] = []

    def inject(self, fault: Fault, now: float) -> int:
        """Let `fault` begin `fault.start` from `now`; the number by which to clear it."""
        number = len(self._all)
        begins = now + fault.start
        ends = np.inf if fault.duration is None else begins + fault.duration
        self._all.append(_Injected(number, fault, begins, ends))
        heapq.heappush(self._waiting, (begins, number))
        return number

    def clear(self, number: int | None = None) -> None:
        """End the fault `number`, or all. Raises UserError if there is none of that number."""
        if number is not None and not 0 <= number < len(self._all):
            raise UserError(f"there is no fault number {number}; {len(self._all)} were injected")
        for fault in self._all if number is None else [self._all[number]]:
            fault.over = True
        self._present = [fault for fault in self._present if not fault.over]

    def update(self, now: float) -> None:
        """Let those begin and end whose time has come; all other questions are about this time."""
        while self._waiting and self._waiting[0][0] <= now:
            begun = self._all[heapq.heappop(self._waiting)[1]]
            if not begun.over:
                self._present.append(begun)
                if not _ALL[begun.fault.kind].per_packet:
                    begun.strike(now)
        for fault in self._present:
            fault.over = now >= fault.ends or fault.spent
        self._present = [fault for fault in self._present if not fault.over]

    @property
    def unplugged(self) -> bool:
        """Whether the port is gone."""
        return any(present.fault.kind == "unplug" for present in self._present)

    @property
    def camera(self) -> tuple[int, int]:
        """What the camera suffers: place in `CAMERA`, counted from 1 (0: nothing), and value."""
        for present in self._present:
            if present.fault.kind in CAMERA:
                number = list(CAMERA).index(present.fault.kind) + 1
                return number, int(present.fault.amount())
        return 0, 1

    def joints(self, servos: Sequence[int]) -> list[dict[str, float]]:
        """For each servo id what its joint suffers: kind, of `JOINT` -> value."""
        if not self._present:
            return [{}] * len(servos)
        present = [one.fault for one in self._present if one.fault.kind in JOINT]
        return [{one.kind: one.amount() for one in present if one.concerns(s)} for s in servos]

    def conditions(self, servo: int) -> Conditions:
        """What the servo with id `servo` suffers."""
        if not self._present:
            return NORMAL
        here = {
            present.fault.kind: present.fault.amount()
            for present in self._present
            if present.fault.concerns(servo)
        }
        alarms = NO_ALARM
        for kind in ("overload", "overcurrent", "angle"):
            if kind in here:
                alarms |= Alarm[kind.upper()]
        model, firmware = here.get("model"), here.get("firmware")
        kept = {
            present.fault.register: int(present.fault.amount())
            for present in self._present
            if present.fault.register is not None and present.fault.concerns(servo)
        }
        return Conditions(
            registers=tuple(kept.items()),
            powered="dead" not in here and "brown_out" not in here,
            voltage=here.get("low_voltage", VOLTAGE),
            temperature=here.get("overheat"),
            alarms=alarms,
            model=None if model is None else int(model),
            firmware=None if firmware is None else int(firmware),
        )

    def lost(self, servos: Iterable[int], now: float) -> set[int]:
        """Which of the servos that an instruction addresses do not get it."""
        servos = set(servos)
        lost: set[int] = set()
        for fault in self._striking("lose", servos, now):
            lost |= {servo for servo in servos if fault.concerns(servo)}
        return lost

    def corrupt(self, answer: bytes, servo: int, now: float) -> tuple[float, list[bytes]]:
        """What becomes of a status packet of `servo`: how late it is in s, and what is sent."""
        sent = [answer]
        if self._striking("drop", {servo}, now):
            return 0.0, []
        for fault in self._striking("corrupt", {servo}, now):
            sent = [self._flip(packet, int(fault.amount())) for packet in sent]
        for fault in self._striking("truncate", {servo}, now):
            sent = [packet[: int(fault.amount())] for packet in sent]
        for _ in self._striking("duplicate", {servo}, now):
            sent += sent[:1]
        late = [fault.amount() for fault in self._striking("delay", {servo}, now)]
        return max(late, default=0.0), sent

    def report(self) -> list[dict[str, Any]]:
        """All that were injected, by number, with how often and when they first struck."""
        return [
            {
                "number": injected.number,
                **asdict(injected.fault),
                "begins": injected.begins,
                "over": injected.over,
                "struck": injected.struck,
                "first": injected.first,
            }
            for injected in self._all
        ]

    def _striking(self, kind: str, servos: set[int], now: float) -> list[Fault]:
        """Those of a kind that strike a packet which concerns `servos`; each draws once."""
        striking = []
        for present in self._present:
            fault = present.fault
            if fault.kind != kind or present.spent:
                continue
            if not any(fault.concerns(servo) for servo in servos):
                continue
            if fault.probability == 1 or self._rng.random() < fault.probability:
                present.strike(now)
                striking.append(fault)
        return striking

    def _flip(self, packet: bytes, bits: int) -> bytes:
        number = int.from_bytes(packet, "little")
        for bit in self._rng.choice(8 * len(packet), min(bits, 8 * len(packet)), replace=False):
            number ^= 1 << int(bit)
        return number.to_bytes(len(packet), "little")
