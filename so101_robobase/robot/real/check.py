"""Looks at an arm and its camera, part by part; each is well or has a line with what to do.

No servo gets torque here.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.alignment import GRIPPER, Units
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.align.directions import Item, Person, check_joint
from so101_robobase.robot.loop.driver import DriverError
from so101_robobase.robot.person.hints import OperatorHints, hints_for
from so101_robobase.robot.real import ports
from so101_robobase.robot.real.lerobot_bus import LeRobotBus, uncalibrated
from so101_robobase.robot.real.lerobot_calibration import Calibration, kept_by
from so101_robobase.robot.real.servo_registers import (
    PRESENT_POSITION,
    TORQUE_ENABLE,
    ServoSettings,
    ServoState,
    bad_registers,
    parse_position,
)
from so101_robobase.robot.real.servo_setup import repair
from so101_robobase.robot.real.wrist_camera import RatedCamera
from so101_robobase.robot.rollout.frame_watch import flaw_of
from so101_robobase.robot.rollout.picture import REMEDIES, Flaw

_READS = 200  # for the loop's rate
_SLOWEST_READ = 0.010  # s, half a control tick
_FRAMES = 10  # for the frames' age
_OLDEST_FRAME = 0.1  # s
_PATIENCE = 5  # lost answers in a row, while a joint is moved by hand
_WARM = 10.0  # degrees Celsius below a servo's own limit


@dataclass(frozen=True)
class CheckedServo:
    """What one servo said."""

    settings: ServoSettings
    state: ServoState


def repair_settings(port: str) -> Iterator[Item]:
    """Turn torque off and write what servos may keep where they keep something else."""
    bus = uncalibrated(port)
    bus.open()
    with closing(bus):
        for id_ in ports.IDS:
            name = f"repair {id_} {ports.name(id_)}"
            try:
                bus.write(id_, TORQUE_ENABLE, b"\0")
                lines = list(repair(bus, id_))
            except (DriverError, UserError) as error:
                yield Item(name, False, str(error))
            else:
                yield Item(name, True, "; ".join(lines) or "nothing to do")


def check_port(port: str) -> Item:
    """Whether the port can be used."""
    try:
        ports.PortLock(port).release()
    except UserError as error:
        return Item("port", False, str(error))
    known = [line for line in ports.available() if line.split(" ")[0] == port]
    return Item("port", True, known[0] if known else port)


def check_arm(
    port: str, calibration: Path | None, units: Units, person: Person | None
) -> Iterator[Item]:
    """Servos, calibration, rate and, with a `person`, directions of the arm on a usable port."""
    file, problem = load_calibration(calibration)
    hints = hints_for(port)
    bus = uncalibrated(port)
    bus.open()
    with closing(bus):
        servos = {}
        for id_ in ports.IDS:
            item, servo = check_servo(bus, id_, file, hints)
            if servo is not None:
                servos[ports.name(id_)] = servo
            yield item
        if not servos:
            yield Item("servos", False, _said(ports.check_servos, port, dict.fromkeys(ports.IDS)))
            return
        yield check_firmware(servos)
        if file is not None:
            problem = difference(file, servos)
        yield Item("calibration", problem is None, problem or f"{calibration} is these servos'")
        if len(servos) < len(JOINTS):
            return
        yield check_rate(bus, hints)
        if person is not None and file is not None and problem is None:
            try:
                yield from check_directions(bus, file, units, person)
            except DriverError as error:
                yield Item("directions", False, f"{error}; {hints.line}, then go on")


def load_calibration(path: Path | None) -> tuple[Calibration | None, str | None]:
    """The file, or what is wrong with it."""
    if path is None:
        return None, "none given; give --calibration <file> or --id <LeRobot's id>"
    try:
        return Calibration(path), None
    except UserError as error:
        return None, str(error)


def check_servo(
    bus: LeRobotBus, id_: int, file: Calibration | None, hints: OperatorHints
) -> tuple[Item, CheckedServo | None]:
    """One servo; None where it does not answer. Without a `file` its position is in counts."""
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
            f"does not answer; {hints.line}, or set its id with `lerobot-setup-motors`",
        ), None
    facts = (
        f"model {settings.model}, firmware {settings.firmware}, {state.voltage:.1f} V, "
        f"{state.temperature:.0f} °C, load {state.load:+.0%}, at {_place(id_, state, file)}"
    )
    problem = _problem(id_, settings, state, hints)
    text = f"{facts}; {problem}" if problem else facts
    return Item(label, problem is None, text), CheckedServo(settings, state)


def _place(id_: int, state: ServoState, file: Calibration | None) -> str:
    if file is None:
        return f"{state.position} counts"
    joint = id_ - 1
    place = file.to_servo(np.full(len(JOINTS), state.position))[joint]
    return f"{place:.1f} {'% open' if joint == GRIPPER else 'degrees'}"


def _problem(
    id_: int, settings: ServoSettings, state: ServoState, hints: OperatorHints
) -> str | None:
    if settings.model != ports.MODEL:
        return f"the model must be {ports.MODEL} (STS3215): another servo, or another robot's port"
    if not settings.min_voltage <= state.voltage <= settings.max_voltage:
        return (
            f"the voltage must be {settings.min_voltage:.1f} to {settings.max_voltage:.1f} V: "
            f"{hints.supply}"
        )
    if state.alarms:
        return f"it complains of {' and '.join(state.alarms)}: {hints.restart}"
    if state.temperature > settings.max_temperature - _WARM:
        return f"hot, its limit is {settings.max_temperature:.0f} °C: let it cool, torque off"
    if wrong := list(bad_registers(ports.name(id_), settings.memory)):
        return f"{'; '.join(map(str, wrong))}; write what is allowed: add --repair"
    return None


def check_firmware(servos: dict[str, CheckedServo]) -> Item:
    """LeRobot wants one firmware in all servos."""
    versions = {motor: servo.settings.firmware for motor, servo in servos.items()}
    if len(set(versions.values())) == 1:
        return Item("firmware", True, f"{next(iter(versions.values()))} in all servos")
    listed = ", ".join(f"{motor} {version}" for motor, version in versions.items())
    return Item("firmware", False, f"{listed}; make them equal with Feetech's software")


def difference(file: Calibration, servos: dict[str, CheckedServo]) -> str | None:
    """How the servos that answered contradict the file."""
    problem = file.difference(kept_by({m: servo.settings for m, servo in servos.items()}))
    return problem or file.out_of_range({m: servo.state.position for m, servo in servos.items()})


def check_rate(bus: LeRobotBus, hints: OperatorHints) -> Item:
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
        return Item("loop rate", False, f"no position could be read; {hints.line}")
    middle, late = np.percentile(taken, (50, 99))
    facts = (
        f"positions in {1e3 * middle:.1f} ms, 99 % within {1e3 * late:.1f} ms, {1 / middle:.0f} a "
        f"second; {lost} of {_READS} questions without a proper answer"
    )
    if lost > _READS // 100:
        return Item("loop rate", False, f"{facts}: {hints.line}")
    if middle > _SLOWEST_READ:
        return Item("loop rate", False, f"{facts}: too slow; {hints.slow}")
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
        item = check_joint(joint, lambda: file.to_servo(read_patiently(bus)), units, person)
        if item is not None:
            yield item


def read_counts(bus: LeRobotBus) -> np.ndarray:
    """Present positions (6,) in counts. Raises DriverError."""
    _, answers = bus.read_all(ports.IDS, PRESENT_POSITION, 2)
    return np.array([parse_position(answer) for answer in answers])


def read_patiently(bus: LeRobotBus) -> np.ndarray:
    """The same; some lost answers are forgiven, as `check_rate` has told of them already."""
    for _ in range(_PATIENCE):
        with contextlib.suppress(DriverError):
            return read_counts(bus)
    return read_counts(bus)


def check_camera(camera: RatedCamera) -> Item:
    """Size, rate and age of its frames, and whether there is something to be seen in them."""
    try:
        camera.open()
        with closing(camera):
            ages, frames = [], []
            for _ in range(_FRAMES):
                came, frame = camera.grab()
                ages.append(time.monotonic() - came)
                frames.append(frame)
    except UserError as error:
        return Item("camera", False, str(error))
    height, width = frame.shape[:2]
    age = float(np.median(ages))
    facts = f"{width}x{height}, {camera.frame_rate:.1f} frames a second, {1e3 * age:.0f} ms old"
    if age > _OLDEST_FRAME:
        return Item("camera", False, f"{facts}: too old; close other programs, use another port")
    flaws = [flaw for frame in frames if (flaw := flaw_of(frame)) is not None]
    if flaws:
        many = f"{len(flaws)} of {_FRAMES}" if len(flaws) < _FRAMES else "its"
        return Item(
            "camera", False, f"{facts}: {many} pictures are {flaws[0]}: {REMEDIES[flaws[0]]}"
        )
    if all(np.array_equal(frame, frames[0]) for frame in frames[1:]):
        # A sensor's noise makes each picture another one.
        remedy = REMEDIES[Flaw.FROZEN]
        return Item("camera", False, f"{facts}: gave the same picture {_FRAMES} times; {remedy}")
    return Item("camera", True, facts)


def _said(check: Callable[..., None], *args: object) -> str:
    try:
        check(*args)
    except UserError as error:
        return str(error)
    raise AssertionError("what must fail did not")
