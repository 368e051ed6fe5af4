"""The six servos on their common line: who answers what, and when the bytes are there."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from so101_robobase.robot.emulator.faults import Faults
from so101_robobase.robot.emulator.protocol import BROADCAST, SHORTEST, Instruction, Packet, encode
from so101_robobase.robot.emulator.servo import Servo

_BITS = 10  # of one byte on the line, with start and stop bit
_DELAY_UNIT = 2e-6  # s, of Return_Delay_Time


class Answer(NamedTuple):
    """Bytes that leave the bus at `time`, s of the monotonic clock."""

    time: float
    data: bytes


class Bus:
    """Executes instruction packets.

    Args:
        timing: let bytes take the time that they take on the line, and servos their return delay.
    """

    def __init__(self, servos: Sequence[Servo], faults: Faults, timing: bool = True):
        self.servos, self.faults, self.timing = servos, faults, timing
        self._free = 0.0  # when the line is

    def handle(self, packet: Packet, now: float, baud_rate: int | None = None) -> list[Answer]:
        """What comes back to `packet`; `baud_rate` is the sender's, None where it is unknown."""
        hearing = [
            servo
            for servo in self.servos
            if servo.conditions.powered and baud_rate in (None, servo.baud_rate)
        ]
        todo = _split(packet, hearing)
        lost = self.faults.lost((servo.id for servo, _ in todo), now)
        replies = [
            (servo.id, encode(reply), servo.memory["Return_Delay_Time"])
            for servo, execute in todo
            if servo.id not in lost and (reply := execute()) is not None
        ]
        length = SHORTEST + len(packet.parameters)
        return self._send(replies, length, now, baud_rate or 1_000_000)

    def _send(
        self, replies: list[tuple[int, bytes, int]], length: int, now: float, baud_rate: int
    ) -> list[Answer]:
        """Answers after an instruction of `length` bytes; replies are (id, bytes, return delay)."""
        byte_time = _BITS / baud_rate if self.timing else 0.0
        self._free = max(now, self._free) + length * byte_time
        late = 0.0
        answers = []
        for servo, data, delay in replies:
            self._free += len(data) * byte_time + (delay * _DELAY_UNIT if self.timing else 0.0)
            lateness, sent = self.faults.corrupt(data, servo, now)
            late = max(late, lateness)  # a servo waits for the answer before its own
            answers += [Answer(self._free + late, piece) for piece in sent]
        return answers


_Execute = Callable[[], Packet | None]


def _split(packet: Packet, servos: Sequence[Servo]) -> list[tuple[Servo, _Execute]]:
    """What each servo that a packet concerns has to do, in the order of the answers."""
    code, data = packet.code, packet.parameters
    if code in (Instruction.SYNC_READ, Instruction.SYNC_WRITE):
        return _split_sync(code, data, servos) if len(data) >= 2 else []
    everyone = packet.id == BROADCAST
    return [
        (servo, partial(_execute, servo, code, data, everyone))
        for servo in sorted(servos, key=lambda servo: servo.id)
        if everyone or servo.id == packet.id
    ]


def _split_sync(code: int, data: bytes, servos: Sequence[Servo]) -> list[tuple[Servo, _Execute]]:
    address, length = data[:2]
    todo: list[tuple[Servo, _Execute]] = []
    if code == Instruction.SYNC_READ:
        for wanted in data[2:]:
            todo += [
                (one, partial(_read, one, address, length)) for one in _with_id(wanted, servos)
            ]
        return todo
    for start in range(2, len(data) - length, length + 1):
        values = data[start + 1 : start + 1 + length]
        for servo in _with_id(data[start], servos):
            todo.append((servo, partial(servo.write, address, values)))
    return todo


def _with_id(wanted: int, servos: Sequence[Servo]) -> list[Servo]:
    return [servo for servo in servos if servo.id == wanted]


def _read(servo: Servo, address: int, length: int) -> Packet:
    return _status(servo, servo.read(address, length))


def _execute(servo: Servo, code: int, data: bytes, everyone: bool) -> Packet | None:
    """Do what an instruction to one servo says; its answer, None where it gives none."""
    if code == Instruction.PING:
        return _status(servo)  # the one broadcast that is answered
    if code == Instruction.READ:
        if everyone or len(data) != 2:
            return None
        return _read(servo, data[0], data[1])
    # What it was before: LeRobot expects the old id to answer when it changes one.
    number, level = servo.id, servo.memory["Response_Status_Level"]
    if code == Instruction.WRITE and len(data) >= 2:
        servo.write(data[0], data[1:])
    elif code == Instruction.REG_WRITE and len(data) >= 2:
        servo.register_write(data[0], data[1:])
    elif code == Instruction.ACTION:
        servo.action()
    else:
        return None
    return None if everyone or level == 0 else Packet(number, int(servo.alarms))


def _status(servo: Servo, data: bytes = b"") -> Packet:
    return Packet(servo.id, int(servo.alarms), data)
