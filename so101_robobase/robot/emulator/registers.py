"""Memory of an STS3215 servo: 256 bytes, some of which are registers with a meaning.

Addresses, sizes and defaults follow Feetech's memory table of the STS series; sign bits are those
that LeRobot decodes.
"""

from typing import NamedTuple

from so101_robobase.robot.emulator.protocol import to_sign_magnitude
from so101_robobase.robot.real.servo_registers import signed

SIZE = 256  # bytes
_FIRST_RAM = 40  # below: EEPROM


class Register(NamedTuple):
    """One register of `size` bytes, the lowest first."""

    address: int
    size: int
    default: int = 0
    sign_bit: int | None = None
    read_only: bool = False


REGISTERS = {
    "Firmware_Major_Version": Register(0, 1, 3, read_only=True),
    "Firmware_Minor_Version": Register(1, 1, 10, read_only=True),
    "Model_Number": Register(3, 2, 777, read_only=True),
    "ID": Register(5, 1, 1),
    "Baud_Rate": Register(6, 1, 0),
    "Return_Delay_Time": Register(7, 1, 250),  # 2 µs
    "Response_Status_Level": Register(8, 1, 1),
    "Min_Position_Limit": Register(9, 2, 0),
    "Max_Position_Limit": Register(11, 2, 4095),
    "Max_Temperature_Limit": Register(13, 1, 70),  # degrees Celsius
    "Max_Voltage_Limit": Register(14, 1, 80),  # 0.1 V
    "Min_Voltage_Limit": Register(15, 1, 40),
    "Max_Torque_Limit": Register(16, 2, 1000),  # 0.1 %
    "Phase": Register(18, 1, 12),
    "Unloading_Condition": Register(19, 1, 44),
    "LED_Alarm_Condition": Register(20, 1, 47),
    "P_Coefficient": Register(21, 1, 32),
    "D_Coefficient": Register(22, 1, 32),
    "I_Coefficient": Register(23, 1, 0),
    "Minimum_Startup_Force": Register(24, 2, 16),
    "CW_Dead_Zone": Register(26, 1, 1),
    "CCW_Dead_Zone": Register(27, 1, 1),
    "Protection_Current": Register(28, 2, 500),  # 6.5 mA
    "Angular_Resolution": Register(30, 1, 1),
    "Homing_Offset": Register(31, 2, 0, sign_bit=11),
    "Operating_Mode": Register(33, 1, 0),
    "Protective_Torque": Register(34, 1, 20),  # %
    "Protection_Time": Register(35, 1, 200),  # 10 ms
    "Overload_Torque": Register(36, 1, 80),  # %
    "Over_Current_Protection_Time": Register(38, 1, 200),
    "Torque_Enable": Register(40, 1),
    "Acceleration": Register(41, 1),
    "Goal_Position": Register(42, 2, sign_bit=15),
    "Goal_Time": Register(44, 2),
    "Goal_Velocity": Register(46, 2, sign_bit=15),
    "Torque_Limit": Register(48, 2, 1000),
    "Lock": Register(55, 1, 1),
    "Present_Position": Register(56, 2, sign_bit=15, read_only=True),
    "Present_Velocity": Register(58, 2, sign_bit=15, read_only=True),  # counts a second
    "Present_Load": Register(60, 2, sign_bit=10, read_only=True),  # 0.1 % of the greatest torque
    "Present_Voltage": Register(62, 1, 74, read_only=True),  # 0.1 V
    "Present_Temperature": Register(63, 1, 25, read_only=True),
    "Status": Register(65, 1, read_only=True),
    "Moving": Register(66, 1, read_only=True),
    "Present_Current": Register(69, 2, sign_bit=15, read_only=True),  # 6.5 mA
    "Maximum_Acceleration": Register(85, 1, 254),
}
_READ_ONLY = frozenset(
    address
    for register in REGISTERS.values()
    if register.read_only
    for address in range(register.address, register.address + register.size)
)
_COUPLED = {"Torque_Limit": "Max_Torque_Limit"}  # at power-on: a copy of


class Memory:
    """One servo's memory, by address as the bus sees it and by name as the servo does.

    EEPROM that is written while Lock is 1 works until power is lost, and is then forgotten.
    """

    def __init__(self) -> None:
        self._bytes = bytearray(SIZE)
        for name, register in REGISTERS.items():
            self[name] = register.default
        self._saved = bytes(self._bytes)

    def __getitem__(self, name: str) -> int:
        register = REGISTERS[name]
        bits = int.from_bytes(self.read(register.address, register.size), "little")
        return bits if register.sign_bit is None else signed(bits, register.sign_bit)

    def __setitem__(self, name: str, value: int) -> None:
        """For the servo itself: read-only registers too, and nothing is saved."""
        register = REGISTERS[name]
        if register.sign_bit is not None:
            value = to_sign_magnitude(value, register.sign_bit)
        data = value.to_bytes(register.size, "little")
        self._bytes[register.address : register.address + register.size] = data

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes from `address`; zeros beyond the end."""
        return bytes(self._bytes[address : address + length]).ljust(length, b"\0")

    def write(self, address: int, data: bytes) -> set[str]:
        """Store what may be written, as the bus does; names of the registers it touched."""
        writable = [
            (where, byte)
            for where, byte in enumerate(data, address)
            if where < SIZE and where not in _READ_ONLY
        ]
        locked = bool(self["Lock"])
        for where, byte in writable:
            self._bytes[where] = byte
            if where < _FIRST_RAM and not locked:
                self._save(where)
        touched = {where for where, _ in writable}
        return {
            name
            for name, register in REGISTERS.items()
            if touched.intersection(range(register.address, register.address + register.size))
        }

    def save(self) -> None:
        """Keep the EEPROM as it is now."""
        for where in range(_FIRST_RAM):
            self._save(where)

    def power_cycle(self) -> None:
        """EEPROM as saved, everything else as at power-on."""
        self._bytes[:] = self._saved
        for name, source in _COUPLED.items():
            self[name] = self[source]

    def _save(self, where: int) -> None:
        saved = bytearray(self._saved)
        saved[where] = self._bytes[where]
        self._saved = bytes(saved)
