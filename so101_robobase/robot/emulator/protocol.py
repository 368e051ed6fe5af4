"""Packets of Feetech's serial protocol, as bytes and back.

Instruction and status packets have one shape: `FF FF id length code parameters checksum`, where
length counts code, parameters and checksum, and the checksum is the inverted sum of everything
after the header, one byte. Numbers are little-endian.
"""

from enum import IntEnum, IntFlag
from typing import NamedTuple

HEADER = b"\xff\xff"
BROADCAST = 0xFE
SHORTEST = 6  # bytes of a packet without parameters


class Instruction(IntEnum):
    """Code of a packet to servos."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83


class Alarm(IntFlag):
    """Bits of the code of a packet from a servo."""

    VOLTAGE = 1
    ANGLE = 2
    OVERHEAT = 4
    OVERCURRENT = 8
    OVERLOAD = 32


NO_ALARM = Alarm(0)
"""None."""


class Packet(NamedTuple):
    """One packet; `code` is an instruction, or a servo's alarms."""

    id: int
    code: int
    parameters: bytes = b""


def encode(packet: Packet) -> bytes:
    """The bytes of `packet`."""
    body = bytes([packet.id, len(packet.parameters) + 2, packet.code]) + packet.parameters
    return HEADER + body + bytes([checksum(body)])


def checksum(body: bytes) -> int:
    """Of all bytes between header and checksum."""
    return ~sum(body) & 0xFF


class Parser:
    """Finds packets in a stream that comes in pieces and may hold noise.

    Attributes:
        rejected: how many candidates had a wrong checksum or length.
        waiting: whether the beginning of a packet is kept for more bytes.
    """

    def __init__(self) -> None:
        self.rejected = 0
        self._buffer = bytearray()

    @property
    def waiting(self) -> bool:
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that `data` completes."""
        self._buffer += data
        packets = []
        while (packet := self._next()) is not None:
            packets.append(packet)
        return packets

    def skip(self) -> list[Packet]:
        """Give up on the packet that has begun; those which hid behind its length."""
        if self._buffer:
            self._reject()
        return self.feed(b"")

    def reset(self) -> None:
        """Forget what has begun."""
        self._buffer.clear()

    def _next(self) -> Packet | None:
        buffer = self._buffer
        while True:
            start = buffer.find(HEADER)
            if start < 0:
                del buffer[: -1 if buffer.endswith(b"\xff") else len(buffer)]
                return None
            del buffer[:start]
            if len(buffer) > 2 and buffer[2] == 0xFF:  # an id is never FF: a longer header
                del buffer[0]
                continue
            if len(buffer) < 4:
                return None
            length = buffer[3]
            if length < 2:
                self._reject()
                continue
            if len(buffer) < length + 4:
                return None
            body, received = bytes(buffer[2 : length + 3]), buffer[length + 3]
            if checksum(body) != received:
                self._reject()
                continue
            del buffer[: length + 4]
            return Packet(body[0], body[2], body[3:])

    def _reject(self) -> None:
        self.rejected += 1
        del self._buffer[0]


def to_sign_magnitude(value: int, sign_bit: int) -> int:
    """A register's bits for a signed number; `sign_bit` is set where it is negative.

    Raises ValueError where the magnitude needs that bit itself.
    """
    if abs(value) >= 1 << sign_bit:
        raise ValueError(f"{value} does not fit below the sign bit {sign_bit}")
    return (1 << sign_bit) - value if value < 0 else value
