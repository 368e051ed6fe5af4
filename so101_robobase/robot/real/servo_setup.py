"""What servos keep, before and after LeRobot sets them up, and how what must not be is repaired."""

from collections.abc import Iterator, Mapping

from robobase.errors import UserError
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.loop.driver import DriverError
from so101_robobase.robot.real import ports
from so101_robobase.robot.real.lerobot_bus import LeRobotBus
from so101_robobase.robot.real.ports import IDS
from so101_robobase.robot.real.servo_registers import ServoSettings, bad_registers, set_anew

REPAIR = "`so101_robobase robot check --port {port} --repair`"
"""The command that puts it right."""

_LOCK = 55  # EEPROM is kept when it is written with this at 0


def bad_settings(known: Mapping[str, ServoSettings]) -> str | None:
    """What motors keep that they must not, in words; None: all are well."""
    found = [
        f"{motor} (id {IDS[JOINTS.index(motor)]}): {problem}"
        for motor, settings in known.items()
        for problem in bad_registers(motor, settings.memory)
    ]
    return "; ".join(found) or None


def check_set_up(bus: LeRobotBus, before: Mapping[str, ServoSettings]) -> None:
    """Whether what LeRobot has set is there; what it put right goes to `bus.retried`.

    Args:
        before: what each motor kept until then.

    Raises:
        UserError: a value did not stay.
        DriverError: a servo does not answer any more.
    """
    for motor, id_ in zip(JOINTS, IDS, strict=True):
        for register, value in set_anew(motor, before[motor].memory):
            if register.kept and value != register.factory:
                wanted = register.set_by_lerobot(motor)
                bus.retried.append(
                    f"{motor} kept {register.name}={value}; LeRobot has set {wanted}"
                )
        settings = _settings(bus, id_)
        for register, value in set_anew(motor, settings.memory):
            raise UserError(
                f"{motor} (id {id_}) keeps {register.name}={value} although LeRobot has set "
                f"{register.set_by_lerobot(motor)}; switch the arm off and on and try again"
            )


def repair(bus: LeRobotBus, id_: int) -> Iterator[str]:
    """Write the factory's value into each register of a servo that keeps what it must not.

    Torque must be off. Gives a line for each; raises DriverError, UserError for one that does not
    take it.
    """
    motor = ports.name(id_)
    for register, value in bad_registers(motor, _settings(bus, id_).memory):
        bus.write(id_, _LOCK, b"\0")
        try:
            bus.write(id_, register.address, register.factory.to_bytes(register.size, "little"))
        finally:
            bus.write(id_, _LOCK, b"\1")
        now = register.read(_settings(bus, id_).memory)
        if now != register.factory:
            raise UserError(
                f"{motor} (id {id_}) keeps {register.name}={now} and does not take "
                f"{register.factory}; switch the arm off and on and try again"
            )
        yield f"{motor} (id {id_}): {register.name} was {value}, is {register.factory} now"


def _settings(bus: LeRobotBus, id_: int) -> ServoSettings:
    settings = bus.settings(id_)
    if settings is None:
        raise DriverError(f"no answer from {ports.name(id_)} (id {id_})")
    return settings
