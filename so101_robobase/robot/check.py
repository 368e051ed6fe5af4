"""Looks at an arm and its camera, part by part; each is well or has a line with what to do.

No servo gets torque here.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robobase.errors import UserError
from so101_robobase.joints import JOINTS
from so101_robobase.robot import ports
from so101_robobase.robot.alignment import Units
from so101_robobase.robot.directions import Item, Person, check_joint
from so101_robobase.robot.driver import DriverError
from so101_robobase.robot.lerobot_bus import LeRobotBus, uncalibrated
from so101_robobase.robot.lerobot_calibration import Calibration, kept_by
from so101_robobase.robot.lerobot_camera import LeRobotCamera
from so101_robobase.robot.servo_registers import (
    PRESENT_POSITION,
    TORQUE_ENABLE,
    Settings,
    State,
    parse_position,
)

_READS = 200  # for the loop's rate
_SLOWEST_READ = 0.010  # s, half a control tick
_FRAMES = 10  # for the frames' age
_OLDEST_FRAME = 0.1  # s
_WARM = 10.0  # degrees Celsius below a servo's own limit


@dataclass(frozen=True)
class Servo:
    """What one servo said."""

    settings: Settings
    state: State


def check_port(port: str) -> Item:
    """Whether the port can be used."""
    try:
        ports.Claim(port).release()
    except UserError as error:
        return Item("port", False, str(error))
    known = [line for line in ports.available() if line.split(" ")[0] == port]
    return Item("port", True, known[0] if known else port)


def check_arm(
    port: str, calibration: Path | None, units: Units, person: Person | None
) -> Iterator[Item]:
    """Servos, calibration, rate and, with a `person`, directions of the arm on a usable port."""
    bus = uncalibrated(port)
    bus.open()
    with closing(bus):
        servos = {}
        for id_ in ports.IDS:
            item, servo = check_servo(bus, id_)
            if servo is not None:
                servos[ports.name(id_)] = servo
            yield item
        if not servos:
            yield Item("servos", False, _said(ports.check_servos, port, dict.fromkeys(ports.IDS)))
            return
        yield check_firmware(servos)
        item, file = check_calibration(calibration, servos)
        yield item
        if len(servos) < len(JOINTS):
            return
        yield check_rate(bus)
        if person is not None and file is not None:
            try:
                yield from check_directions(bus, file, units, person)
            except DriverError as error:
                yield Item("directions", False, f"{error}; check the servos' cables, then go on")


def check_servo(bus: LeRobotBus, id_: int) -> tuple[Item, Servo | None]:
    """One servo; None where it does not answer."""
    label = f"servo {id_} {ports.name(id_)}"
    settings = bus.settings(id_)
    try:
        state = bus.state(id_)
    except DriverError:
        state = None
    if settings is None or state is None:
        return Item(
            label,
            False,
            "does not answer; check power supply and cables, or set its id with "
            "`lerobot-setup-motors`",
        ), None
    facts = (
        f"model {settings.model}, firmware {settings.firmware}, {state.voltage:.1f} V, "
        f"{state.temperature:.0f} °C, load {state.load:+.0%}, at {state.position} counts"
    )
    problem = _problem(settings, state)
    text = f"{facts}; {problem}" if problem else facts
    return Item(label, problem is None, text), Servo(settings, state)


def _problem(settings: Settings, state: State) -> str | None:
    if settings.model != ports.MODEL:
        return f"the model must be {ports.MODEL} (STS3215): another servo, or another robot's port"
    if not settings.min_voltage <= state.voltage <= settings.max_voltage:
        return (
            f"the voltage must be {settings.min_voltage:.1f} to {settings.max_voltage:.1f} V: "
            "check the power supply, its plug and whether it is meant for these servos"
        )
    if state.complaints:
        return (
            f"it complains of {' and '.join(state.complaints)}: free the joint, let it cool, then "
            "switch the arm off and on"
        )
    if state.temperature > settings.max_temperature - _WARM:
        return f"hot, its limit is {settings.max_temperature:.0f} °C: let it cool, torque off"
    return None


def check_firmware(servos: dict[str, Servo]) -> Item:
    """LeRobot wants one firmware in all servos."""
    versions = {motor: servo.settings.firmware for motor, servo in servos.items()}
    if len(set(versions.values())) == 1:
        return Item("firmware", True, f"{next(iter(versions.values()))} in all servos")
    listed = ", ".join(f"{motor} {version}" for motor, version in versions.items())
    return Item("firmware", False, f"{listed}; make them equal with Feetech's software")


def check_calibration(
    path: Path | None, servos: dict[str, Servo]
) -> tuple[Item, Calibration | None]:
    """The file against the servos that answered; None where it cannot be used."""
    if path is None:
        return Item(
            "calibration", False, "none given; give --calibration <file> or --id <LeRobot's id>"
        ), None
    try:
        file = Calibration(path)
    except UserError as error:
        return Item("calibration", False, str(error)), None
    problem = file.difference(kept_by({m: servo.settings for m, servo in servos.items()}))
    problem = problem or file.out_of_range({m: servo.state.position for m, servo in servos.items()})
    if problem is not None:
        return Item("calibration", False, problem), None
    return Item("calibration", True, f"{path} is that of these servos"), file


def check_rate(bus: LeRobotBus) -> Item:
    """How fast positions can be read."""
    before = bus.failures
    taken = []
    for _ in range(_READS):
        began = time.perf_counter()
        try:
            read_counts(bus)
        except DriverError:
            continue
        taken.append(time.perf_counter() - began)
    lost = bus.failures - before
    if not taken:
        return Item("loop rate", False, "no position could be read; check cables and power supply")
    middle, late = np.percentile(taken, (50, 99))
    facts = (
        f"positions in {1e3 * middle:.1f} ms, 99 % within {1e3 * late:.1f} ms, {1 / middle:.0f} a "
        f"second; {lost} of {_READS} questions without a proper answer"
    )
    if lost > _READS // 100:
        return Item("loop rate", False, f"{facts}: check the servos' cables and plugs")
    if middle > _SLOWEST_READ:
        return Item(
            "loop rate",
            False,
            f"{facts}: too slow; set the adapter's latency_timer to 1 ms, use no USB hub",
        )
    return Item("loop rate", True, facts)


def check_directions(
    bus: LeRobotBus, file: Calibration, units: Units, person: Person
) -> Iterator[Item]:
    """Let a person move each joint by hand, with torque off."""
    if not person.do("hold the arm: its torque goes off", lambda: ""):
        return
    bus.sync_write("Torque_Enable", dict.fromkeys(JOINTS, 0))
    for id_ in ports.IDS:
        if bus.state(id_).torque:
            bus.write(id_, TORQUE_ENABLE, b"\0")
    for joint in range(len(JOINTS)):
        item = check_joint(joint, lambda: file.to_servo(read_counts(bus)), units, person)
        if item is not None:
            yield item


def read_counts(bus: LeRobotBus) -> np.ndarray:
    """Present positions (6,) in counts. Raises DriverError."""
    _, answers = bus.read_all(ports.IDS, PRESENT_POSITION, 2)
    return np.array([parse_position(answer) for answer in answers])


def check_camera(camera: LeRobotCamera) -> Item:
    """Size, rate and age of its frames."""
    try:
        camera.open()
        with closing(camera):
            ages = []
            for _ in range(_FRAMES):
                came, frame = camera.grab()
                ages.append(time.monotonic() - came)
    except UserError as error:
        return Item("camera", False, str(error))
    height, width = frame.shape[:2]
    age = float(np.median(ages))
    facts = f"{width}x{height}, {camera.frame_rate:.1f} frames a second, {1e3 * age:.0f} ms old"
    if age > _OLDEST_FRAME:
        return Item("camera", False, f"{facts}: too old; close other programs, use another port")
    return Item("camera", True, facts)


def _said(check: Callable[..., None], *args: object) -> str:
    try:
        check(*args)
    except UserError as error:
        return str(error)
    raise AssertionError("what must fail did not")
