"""What the bytes of an STS3215 servo's memory mean, as far as a rollout reads them.

Addresses, units and sign bits as in Feetech's memory table and LeRobot's tables.
"""

from dataclasses import dataclass

COMPLAINTS = {1: "voltage", 2: "angle", 4: "overheat", 8: "overcurrent", 32: "overload"}
"""Bits of a status packet's error byte and of the register Status."""

TORQUE_ENABLE = 40
GOAL_POSITION = 42
PRESENT_POSITION = 56


@dataclass(frozen=True)
class Settings:
    """What a servo is and keeps without power, from `LENGTH` bytes at `ADDRESS`."""

    ADDRESS = 0
    LENGTH = 33

    firmware: str
    model: int
    range_min: int  # counts, as are all positions here
    range_max: int
    homing_offset: int
    max_temperature: float  # degrees Celsius
    max_voltage: float  # V
    min_voltage: float

    @classmethod
    def parse(cls, data: bytes) -> "Settings":
        """From the bytes at `ADDRESS`; more may follow."""
        return cls(
            firmware=f"{data[0]}.{data[1]}",
            model=_word(data, 3),
            range_min=_word(data, 9),
            range_max=_word(data, 11),
            homing_offset=signed(_word(data, 31), 11),
            max_temperature=float(data[13]),
            max_voltage=data[14] / 10,
            min_voltage=data[15] / 10,
        )


@dataclass(frozen=True)
class State:
    """How a servo is, from `LENGTH` bytes at `ADDRESS`."""

    ADDRESS = TORQUE_ENABLE
    LENGTH = 26

    torque: bool
    goal: int
    position: int
    load: float  # share of the greatest torque, -1 to 1
    voltage: float  # V
    temperature: float  # degrees Celsius
    complaints: tuple[str, ...]

    @classmethod
    def parse(cls, data: bytes) -> "State":
        """From the bytes at `ADDRESS`; more may follow."""
        return cls(
            torque=data[0] == 1,
            goal=signed(_word(data, 2), 15),
            position=signed(_word(data, 16), 15),
            load=signed(_word(data, 20), 10) / 1000,
            voltage=data[22] / 10,
            temperature=float(data[23]),
            complaints=complaints(data[25]),
        )


def complaints(bits: int) -> tuple[str, ...]:
    """Names of the bits that are set."""
    return tuple(name for bit, name in COMPLAINTS.items() if bits & bit)


def signed(word: int, sign_bit: int) -> int:
    """A number whose sign is one bit and whose magnitude are the bits below it."""
    magnitude = word & ((1 << sign_bit) - 1)
    return -magnitude if word & (1 << sign_bit) else magnitude


def parse_position(answer: bytes) -> int:
    """Counts, from the bytes at a register of a position; more may follow."""
    return signed(_word(answer, 0), 15)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")
