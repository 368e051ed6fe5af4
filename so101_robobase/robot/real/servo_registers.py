"""What the bytes of an STS3215 servo's memory mean, and what those that it keeps may be.

Addresses, units, sign bits and factory values as in Feetech's memory table and LeRobot's tables.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from so101_robobase.arm.model import SO101

GRIPPER = SO101.joint_names[-1]

ALARMS = {1: "voltage", 2: "angle", 4: "overheat", 8: "overcurrent", 32: "overload"}
"""Bits of a status packet's error byte and of the register Status."""

TORQUE_ENABLE = 40
GOAL_POSITION = 42
PRESENT_POSITION = 56


class Rule(NamedTuple):
    """One register that decides how a servo behaves.

    What `robot.configure()` of LeRobot writes is `sets`, and for the gripper `gripper`; before
    that it may be anything. Everything else must be allowed, or the arm is not connected.
    """

    name: str
    address: int
    factory: int
    least: int = 0
    most: int = 255
    otherwise: str = ""  # what goes wrong with another value
    size: int = 1
    sets: int | None = None  # by LeRobot, in every servo
    gripper: int | None = None  # by LeRobot, in the gripper's
    on: int = 0  # bits that must be set
    off: int = 0  # bits that must not
    kept: bool = True  # without power

    def set_by_lerobot(self, motor: str) -> int | None:
        """What LeRobot writes; None: it leaves this register alone."""
        return self.gripper if motor == GRIPPER and self.gripper is not None else self.sets

    def allows(self, value: int) -> bool:
        """Whether a servo may keep `value`."""
        bits = value & self.on == self.on and not value & self.off
        return self.least <= value <= self.most and bits

    @property
    def allowed(self) -> str:
        """In words."""
        words = [str(self.least) if self.least == self.most else f"{self.least} to {self.most}"]
        words += [f"bits {_bits(self.on)} set"] if self.on else []
        words += [f"bits {_bits(self.off)} clear"] if self.off else []
        return ", ".join(words)

    def read(self, memory: bytes) -> int:
        """Its value in a memory that begins at address 0."""
        return int.from_bytes(memory[self.address : self.address + self.size], "little")


_SAFE = 4 | 8 | 32  # overheat, overcurrent, overload

REGISTERS = (
    Rule("Return_Delay_Time", 7, 250, sets=0),
    Rule("Response_Status_Level", 8, 1, 1, 1, "it does not confirm what it is told"),
    Rule("Max_Temperature_Limit", 13, 70, 50, 80, "it does not protect itself from heat"),
    Rule("Max_Voltage_Limit", 14, 80, 70, 150, "it complains of a good supply, or never"),
    Rule("Min_Voltage_Limit", 15, 40, 35, 100, "it complains of a good supply, or never"),
    Rule(
        "Max_Torque_Limit", 16, 1000, 500, 1000, "it is too weak for the arm", 2, gripper=500
    ),
    Rule(
        "Phase", 18, 12, 0, 255, "it turns or counts another way, or over several turns", on=8,
        off=1 | 16 | 128,
    ),
    Rule("Unloading_Condition", 19, 44, 0, 47, "it keeps torque when it must let go", on=_SAFE),
    Rule("P_Coefficient", 21, 32, sets=16),
    Rule("D_Coefficient", 22, 32, sets=32),
    Rule("I_Coefficient", 23, 0, sets=0),
    Rule("Minimum_Startup_Force", 24, 16, 0, 100, "it jerks instead of moving slowly", 2),
    Rule("CW_Dead_Zone", 26, 1, 0, 8, "it stops away from its goal"),
    Rule("CCW_Dead_Zone", 27, 1, 0, 8, "it stops away from its goal"),
    Rule(
        "Protection_Current", 28, 500, 100, 511, "it does not protect itself from current", 2,
        gripper=250,
    ),
    Rule("Angular_Resolution", 30, 1, 1, 1, "its counts are not 1/4096 of a turn"),
    Rule("Operating_Mode", 33, 0, sets=0),
    Rule("Protective_Torque", 34, 20, 5, 50, "it keeps pressing when it is overloaded"),
    Rule("Protection_Time", 35, 200, 10, 250, "it notices overload too late or at once"),
    Rule(
        "Overload_Torque", 36, 80, 25, 90, "it does not notice when it is overloaded", gripper=25
    ),
    Rule(
        "Over_Current_Protection_Time", 38, 200, 1, 250, "it notices current too late or at once"
    ),
    Rule("Acceleration", 41, 0, sets=254, kept=False),
    Rule("Goal_Time", 44, 0, 0, 0, "it moves at another speed", 2, kept=False),
    Rule("Torque_Limit", 48, 1000, 250, 1000, "it is too weak for the arm", 2, kept=False),
)  # fmt: skip
"""Every register that matters, but for the calibration's (9, 11, 31), which has a file of its own,
and for what a servo must have to answer at all. Not those of lamps and of turning without end.

Phase: bits 1 and 128 turn motor and encoder round, 16 counts over several turns, 8 lets speed 0
mean as fast as it can."""


class BadRegister(NamedTuple):
    """A register whose value is not allowed."""

    register: Rule
    value: int

    def __str__(self) -> str:
        return (
            f"{self.register.name} (address {self.register.address}) is {self.value}, allowed is "
            f"{self.register.allowed}: {self.register.otherwise}"
        )


def bad_registers(motor: str, memory: bytes) -> Iterator[BadRegister]:
    """Registers of one servo that are not as they must be before LeRobot sets it up.

    Args:
        memory: `ServoSettings.memory`.
    """
    for register in REGISTERS:
        value = register.read(memory)
        if register.set_by_lerobot(motor) is None and not register.allows(value):
            yield BadRegister(register, value)


def set_anew(motor: str, memory: bytes) -> Iterator[tuple[Rule, int]]:
    """Registers that are not what LeRobot's `configure` writes, and what they are."""
    for register in REGISTERS:
        wanted, value = register.set_by_lerobot(motor), register.read(memory)
        if wanted is not None and value != wanted:
            yield register, value


@dataclass(frozen=True)
class ServoSettings:
    """What a servo is, keeps without power and was told, from `LENGTH` bytes at `ADDRESS`."""

    ADDRESS = 0
    LENGTH = 50

    firmware: str
    model: int
    range_min: int  # counts, as are all positions here
    range_max: int
    homing_offset: int
    max_temperature: float  # degrees Celsius
    max_voltage: float  # V
    min_voltage: float
    memory: bytes  # as read

    @classmethod
    def parse(cls, data: bytes) -> "ServoSettings":
        """From the bytes at `ADDRESS`; more may follow."""
        return cls(
            memory=data[: cls.LENGTH],
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
class ServoState:
    """How a servo is, from `LENGTH` bytes at `ADDRESS`."""

    ADDRESS = TORQUE_ENABLE
    LENGTH = 26

    torque: bool
    goal: int
    position: int
    load: float  # share of the greatest torque, -1 to 1
    voltage: float  # V
    temperature: float  # degrees Celsius
    alarms: tuple[str, ...]

    @classmethod
    def parse(cls, data: bytes) -> "ServoState":
        """From the bytes at `ADDRESS`; more may follow."""
        return cls(
            torque=data[0] == 1,
            goal=signed(_word(data, 2), 15),
            position=signed(_word(data, 16), 15),
            load=signed(_word(data, 20), 10) / 1000,
            voltage=data[22] / 10,
            temperature=float(data[23]),
            alarms=alarm_names(data[25]),
        )


def _bits(mask: int) -> str:
    return ", ".join(str(1 << n) for n in range(8) if mask & (1 << n))


def alarm_names(bits: int) -> tuple[str, ...]:
    """Names of the bits that are set."""
    return tuple(name for bit, name in ALARMS.items() if bits & bit)


def signed(word: int, sign_bit: int) -> int:
    """A number whose sign is one bit and whose magnitude are the bits below it."""
    magnitude = word & ((1 << sign_bit) - 1)
    return -magnitude if word & (1 << sign_bit) else magnitude


def parse_position(answer: bytes) -> int:
    """Counts, from the bytes at a register of a position; more may follow."""
    return signed(_word(answer, 0), 15)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")
