"""One emulated servo: its memory on one side, a joint of the simulated arm on the other."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from so101_robobase.robot.emulator.protocol import NO_ALARM, Alarm
from so101_robobase.robot.emulator.registers import Memory
from so101_robobase.robot.emulator.servo_calibration import COUNT, COUNTS, MIDDLE, ServoCalibration

VOLTAGE = 7.4  # V, of the supply
AMBIENT = 25.0  # degrees Celsius
_HEATING = 45.0  # degrees above ambient in the end, at the greatest torque for ever
_COOLING_TIME = 300.0  # s, until 63 % of a change of temperature is done
_STALL_CURRENT = 2.4 / 0.0065  # at the greatest torque, in the register's 6.5 mA
_MOVING = 10.0  # counts a second
_RECENTRE = 128  # written to Torque_Enable: call the present position 2048
_GOAL_AT_RECENTRE = 2048
_BAUD_RATES = (1_000_000, 500_000, 250_000, 128_000, 115_200, 57_600, 38_400, 19_200)


@dataclass(frozen=True)
class Conditions:
    """What the world does to a servo; faults change it."""

    powered: bool = True
    voltage: float = VOLTAGE
    temperature: float | None = None  # degrees Celsius; None: from what the servo does
    alarms: Alarm = NO_ALARM
    model: int | None = None
    firmware: int | None = None  # minor version
    registers: tuple[tuple[str, int], ...] = ()  # that somebody has written, by name


NORMAL = Conditions()


class Servo:
    """Servo of joint number `joint`, mounted and calibrated as `calibration` says.

    Args:
        middle: rad, the joint's angle at the middle of the calibrated range.
        on_goal: called with (joint, position in counts, angle in rad) for each goal that arrives.

    Attributes:
        memory: the registers; `Present_*` are brought up to date by `read`.
        target: rad, where the servo drives its joint unless it is `limp`.
        conditions: what the world does to it; set by `set_conditions`.
    """

    def __init__(
        self,
        joint: int,
        calibration: ServoCalibration,
        middle: float,
        on_goal: Callable[[int, int, float], None],
    ):
        self.joint, self.on_goal = joint, on_goal
        self.memory = Memory()
        self.memory["ID"] = calibration.id
        self.memory["Homing_Offset"] = calibration.homing_offset
        self.memory["Min_Position_Limit"] = calibration.range_min
        self.memory["Max_Position_Limit"] = calibration.range_max
        self.memory.save()
        self.conditions = NORMAL
        self.target = middle
        self._encoder_zero = MIDDLE + calibration.homing_offset - middle / COUNT
        self._angle, self._velocity, self._load = middle, 0.0, 0.0
        self._heat = AMBIENT
        self._registered: tuple[int, bytes] | None = None
        self._spoilt: dict[str, int] = {}  # registers that a fault has written, as they were

    @property
    def id(self) -> int:
        return self.memory["ID"]

    @property
    def baud_rate(self) -> int:
        """Bits a second at which it listens."""
        return _BAUD_RATES[min(self.memory["Baud_Rate"], len(_BAUD_RATES) - 1)]

    @property
    def temperature(self) -> float:
        """Degrees Celsius."""
        forced = self.conditions.temperature
        return self._heat if forced is None else forced

    @property
    def alarms(self) -> Alarm:
        """What every status packet carries."""
        alarms = self.conditions.alarms
        lowest, highest = self.memory["Min_Voltage_Limit"], self.memory["Max_Voltage_Limit"]
        if not lowest <= round(10 * self.conditions.voltage) <= highest:
            alarms |= Alarm.VOLTAGE
        if self.temperature > self.memory["Max_Temperature_Limit"]:
            alarms |= Alarm.OVERHEAT
        return alarms

    @property
    def limp(self) -> bool:
        """No torque, whatever the reason."""
        off = not self.conditions.powered or not self.memory["Torque_Enable"]
        return off or bool(self.alarms & self.memory["Unloading_Condition"])

    def update(self, angle: float, velocity: float, load: float, seconds: float) -> None:
        """The joint after `seconds`: rad, rad/s, share of the greatest torque from -1 to 1."""
        self._angle, self._velocity = angle, velocity
        self._load = 0.0 if self.limp else float(np.clip(load, -1, 1))
        goes_to = AMBIENT + _HEATING * self._load**2
        self._heat += (goes_to - self._heat) * -np.expm1(-seconds / _COOLING_TIME)

    def set_conditions(self, conditions: Conditions) -> None:
        """Other conditions from now on; without power the RAM is lost."""
        if self.conditions.powered and not conditions.powered:
            self.memory.power_cycle()
            self._registered = None
        if conditions.registers != self.conditions.registers:
            self._keep(dict(conditions.registers))
        self.conditions = conditions

    def hold(self, angle: float | None = None) -> None:
        """Make `angle` (rad; None: the present one) the goal, as if it had been sent."""
        position = self._position(self._angle if angle is None else angle)
        self.memory["Goal_Position"] = int(position + 0.5) % COUNTS
        self._retarget()

    def read(self, address: int, length: int) -> bytes:
        """What the bus reads."""
        self._refresh()
        return self.memory.read(address, length)

    def write(self, address: int, data: bytes) -> None:
        """What the bus writes; takes effect at once."""
        was_on = self.memory["Torque_Enable"]
        touched = self.memory.write(address, data)
        if "Torque_Enable" in touched:
            if self.memory["Torque_Enable"] == _RECENTRE:
                self._recentre()
                self.memory["Torque_Enable"] = was_on
            elif self.memory["Torque_Enable"] and not was_on:
                self.hold()
        if "Goal_Position" in touched:
            position = self.memory["Goal_Position"]
            self.on_goal(self.joint, position, self._angle_of(position))
        if touched & {"Goal_Position", "Homing_Offset"}:
            self._retarget()

    def register_write(self, address: int, data: bytes) -> None:
        """Keep a write until `action`."""
        self._registered = (address, data)

    def action(self) -> None:
        """Do the write that was kept, if any."""
        if self._registered is not None:
            address, data = self._registered
            self._registered = None
            self.write(address, data)

    def _keep(self, registers: dict[str, int]) -> None:
        """Have `registers`, and those that are not among them any more as they were before."""
        for name in self._spoilt.keys() - registers.keys():
            self.memory[name] = self._spoilt.pop(name)
        for name, value in registers.items():
            self._spoilt.setdefault(name, self.memory[name])
            self.memory[name] = value
        self.memory.save()

    def _position(self, angle: float) -> float:
        """Counts in [0, 4096), not rounded."""
        return (self._encoder_zero + angle / COUNT - self.memory["Homing_Offset"]) % COUNTS

    def _angle_of(self, position: float) -> float:
        """The angle at which the encoder would show `position`, reached without wrapping, rad."""
        return self._angle + (position - self._position(self._angle)) * COUNT

    def _retarget(self) -> None:
        least, greatest = self.memory["Min_Position_Limit"], self.memory["Max_Position_Limit"]
        goal = self.memory["Goal_Position"]
        self.target = self._angle_of(min(max(goal, least), greatest))

    def _recentre(self) -> None:
        actual = round(self._encoder_zero + self._angle / COUNT) % COUNTS
        offset = (actual - _GOAL_AT_RECENTRE + COUNTS // 2) % COUNTS - COUNTS // 2
        limit = COUNTS // 2 - 1
        self.memory["Homing_Offset"] = max(-limit, min(limit, offset))
        self.memory.save()

    def _refresh(self) -> None:
        """Bring the registers that the servo itself fills up to date."""
        memory, speed = self.memory, self._velocity / COUNT
        memory["Present_Position"] = int(self._position(self._angle) + 0.5) % COUNTS
        memory["Present_Velocity"] = int(np.clip(speed, -32767, 32767))
        memory["Present_Load"] = int(1000 * self._load)
        memory["Present_Current"] = int(_STALL_CURRENT * self._load)
        memory["Present_Voltage"] = round(10 * self.conditions.voltage)
        memory["Present_Temperature"] = round(self.temperature)
        memory["Status"] = self.alarms
        memory["Moving"] = int(abs(speed) > _MOVING)
        model, firmware = self.conditions.model, self.conditions.firmware
        memory["Model_Number"] = 777 if model is None else model
        memory["Firmware_Minor_Version"] = 10 if firmware is None else firmware
