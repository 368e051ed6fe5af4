"""Faults of the emulated arm: when they strike, what they do to bytes and servos, schedules."""

from collections import Counter
from itertools import pairwise

import pytest

from robobase.errors import UserError
from so101_robobase.robot.emulator.bus import Bus
from so101_robobase.robot.emulator.faults import KINDS, Fault, Faults
from so101_robobase.robot.emulator.protocol import (
    BROADCAST,
    Alarm,
    Instruction,
    Packet,
    Parser,
    encode,
)
from so101_robobase.robot.emulator.schedule import draw_schedule, load_schedule
from so101_robobase.robot.emulator.servo import Servo
from so101_robobase.robot.emulator.servo_calibration import ServoCalibration

IDS = range(1, 7)
READ_ALL = Packet(BROADCAST, Instruction.SYNC_READ, bytes([56, 2, *IDS]))


@pytest.fixture
def faults():
    return Faults()


@pytest.fixture
def bus(faults):
    servos = [
        Servo(one - 1, ServoCalibration(one, 0, 0, 0, 4095), 0.0, lambda *_: None) for one in IDS
    ]
    return Bus(servos, faults, timing=False)


def inject(faults, bus, fault, now=0.0):
    number = faults.inject(fault, now)
    update(faults, bus, now)
    return number


def update(faults, bus, now):
    faults.update(now)
    for servo in bus.servos:
        servo.set_conditions(faults.conditions(servo.id))


def ids(answers):
    return [packet.id for answer in answers for packet in Parser().feed(answer.data)]


def test_without_faults_all_answer_in_order(bus):
    assert ids(bus.handle(READ_ALL, 0.0)) == list(IDS)
    assert ids(bus.handle(Packet(BROADCAST, Instruction.PING), 0.0)) == list(IDS)
    backwards = Packet(BROADCAST, Instruction.SYNC_READ, bytes([56, 2, 6, 3, 9, 1]))
    assert ids(bus.handle(backwards, 0.0)) == [6, 3, 1]


def test_who_answers_what(bus):
    assert bus.handle(Packet(9, Instruction.PING), 0.0) == []
    assert bus.handle(Packet(BROADCAST, Instruction.READ, b"\x38\x02"), 0.0) == []
    assert bus.handle(Packet(BROADCAST, Instruction.WRITE, b"\x29\x07"), 0.0) == []
    assert {servo.memory["Acceleration"] for servo in bus.servos} == {7}
    sync = Packet(BROADCAST, Instruction.SYNC_WRITE, bytes([42, 2, 2, 10, 1, 5, 20, 2]))
    assert bus.handle(sync, 0.0) == []
    assert bus.servos[1].memory["Goal_Position"] == 266
    assert bus.servos[4].memory["Goal_Position"] == 532
    silence = Packet(4, Instruction.WRITE, b"\x08\0")  # answer to reads and pings alone
    assert ids(bus.handle(silence, 0.0)) == [4]
    assert ids(bus.handle(silence, 0.0)) == []
    assert ids(bus.handle(Packet(4, Instruction.READ, b"\x38\x02"), 0.0)) == [4]
    assert bus.handle(Packet(4, 0x77), 0.0) == []


def test_a_registered_write_waits_for_the_action(bus):
    write = Packet(3, Instruction.REG_WRITE, bytes([42, 0, 8]))
    assert ids(bus.handle(write, 0.0)) == [3]
    assert bus.servos[2].memory["Goal_Position"] == 0
    bus.handle(Packet(BROADCAST, Instruction.ACTION), 0.0)
    assert bus.servos[2].memory["Goal_Position"] == 2048


def test_an_id_may_be_changed(bus):
    answer = bus.handle(Packet(6, Instruction.WRITE, b"\x05\x09"), 0.0)
    assert ids(answer) == [6]
    assert ids(bus.handle(Packet(9, Instruction.PING), 0.0)) == [9]


def test_bytes_take_their_time(bus):
    timed = Bus(bus.servos, Faults(), timing=True)
    for servo in bus.servos:
        servo.write(7, b"\0")
    answers = timed.handle(READ_ALL, 10.0)
    # 14 bytes there, 8 back from each servo, 10 bits each at 1 Mbaud.
    assert [answer.time - 10 for answer in answers] == pytest.approx(
        [1e-5 * (14 + 8 * n) for n in IDS], abs=1e-9
    )
    bus.servos[0].write(7, b"\xfa")
    [answer] = timed.handle(Packet(1, Instruction.PING), 20.0)
    assert answer.time - 20 == pytest.approx(12e-5 + 500e-6, abs=1e-9)
    slow = timed.handle(Packet(1, Instruction.PING), 30.0, 115_200)
    assert slow == []  # servos listen at 1 Mbaud


def test_drop_and_count(bus, faults):
    inject(faults, bus, Fault("drop", servos=(3,), count=2))
    assert ids(bus.handle(READ_ALL, 0.0)) == [1, 2, 4, 5, 6]
    assert ids(bus.handle(READ_ALL, 0.0)) == [1, 2, 4, 5, 6]
    assert ids(bus.handle(READ_ALL, 0.0)) == list(IDS)
    assert faults.report()[0]["struck"] == 2


def test_delay_holds_up_later_answers(bus, faults):
    inject(faults, bus, Fault("delay", servos=(3,), value=0.2))
    times = [answer.time for answer in bus.handle(READ_ALL, 5.0)]
    assert times == pytest.approx([5, 5, 5.2, 5.2, 5.2, 5.2])


@pytest.mark.parametrize("servos", [None, (2,)])
def test_corrupt_breaks_one_bit(bus, faults, servos):
    before = {one.data[2]: one.data for one in bus.handle(READ_ALL, 0.0)}
    inject(faults, bus, Fault("corrupt", servos=servos))
    after = [one.data for one in bus.handle(READ_ALL, 0.0)]
    for servo, data in zip(IDS, after, strict=True):
        difference = int.from_bytes(data, "big") ^ int.from_bytes(before[servo], "big")
        assert difference.bit_count() == (servos is None or servo in servos)


def test_duplicate_truncate_and_together(bus, faults):
    [whole] = [one.data for one in bus.handle(Packet(1, Instruction.PING), 0.0)]
    number = inject(faults, bus, Fault("duplicate"))
    assert [one.data for one in bus.handle(Packet(1, Instruction.PING), 0.0)] == [whole, whole]
    inject(faults, bus, Fault("truncate", value=3))
    assert [one.data for one in bus.handle(Packet(1, Instruction.PING), 0.0)] == [whole[:3]] * 2
    faults.clear(number)
    assert [one.data for one in bus.handle(Packet(1, Instruction.PING), 0.0)] == [whole[:3]]
    faults.clear()
    assert [one.data for one in bus.handle(Packet(1, Instruction.PING), 0.0)] == [whole]


def test_lose_keeps_instructions_from_servos(bus, faults):
    inject(faults, bus, Fault("lose", servos=(2,)))
    bus.handle(Packet(BROADCAST, Instruction.SYNC_WRITE, bytes([42, 2, 2, 9, 0, 5, 9, 0])), 0.0)
    assert [servo.memory["Goal_Position"] for servo in bus.servos] == [0, 0, 0, 0, 9, 0]
    faults.clear()
    inject(faults, bus, Fault("lose", count=1))  # one packet, for all of its servos
    bus.handle(Packet(BROADCAST, Instruction.SYNC_WRITE, bytes([42, 2, 2, 9, 0, 6, 9, 0])), 0.0)
    assert [servo.memory["Goal_Position"] for servo in bus.servos] == [0, 0, 0, 0, 9, 0]
    assert ids(bus.handle(READ_ALL, 0.0)) == list(IDS)


def test_probability(bus, faults):
    inject(faults, bus, Fault("drop", probability=0.3))
    answered = sum(len(bus.handle(Packet(1, Instruction.PING), 0.0)) for _ in range(2000))
    assert 1300 < answered < 1500


@pytest.mark.parametrize("kind", ["dead", "brown_out"])
def test_without_power(bus, faults, kind):
    bus.handle(Packet(BROADCAST, Instruction.WRITE, b"\x28\x01"), 0.0)
    inject(faults, bus, Fault(kind, servos=(4,), duration=1.0))
    assert ids(bus.handle(READ_ALL, 0.5)) == [1, 2, 3, 5, 6]
    update(faults, bus, 1.0)
    assert ids(bus.handle(READ_ALL, 1.0)) == list(IDS)
    assert [servo.limp for servo in bus.servos] == [False] * 3 + [True] + [False] * 2


@pytest.mark.parametrize(
    ("fault", "address", "expected"),
    [
        (Fault("model", (2,), value=2825), 3, 2825),
        (Fault("firmware", (2,), value=7), 0, 3 + 256 * 7),
        (Fault("overheat", (2,), value=90), 62, 74 + 256 * 90),
        (Fault("low_voltage", (2,), value=3.1), 62, 31 + 256 * 25),
    ],
)
def test_registers_that_faults_change(bus, faults, fault, address, expected):
    inject(faults, bus, fault)
    request = Packet(BROADCAST, Instruction.SYNC_READ, bytes([address, 2, 1, 2]))
    one, two = [Parser().feed(answer.data)[0] for answer in bus.handle(request, 0.0)]
    assert int.from_bytes(two.parameters, "little") == expected
    assert int.from_bytes(one.parameters, "little") != expected
    faults.clear()
    update(faults, bus, 0.0)
    one, two = [Parser().feed(answer.data)[0] for answer in bus.handle(request, 0.0)]
    assert one.parameters == two.parameters


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("overload", Alarm.OVERLOAD),
        ("overcurrent", Alarm.OVERCURRENT),
        ("angle", Alarm.ANGLE),
        ("overheat", Alarm.OVERHEAT),
        ("low_voltage", Alarm.VOLTAGE),
    ],
)
def test_complaints_are_in_every_answer(bus, faults, kind, complaint):
    inject(faults, bus, Fault(kind, servos=(1,)))
    for packet in (Packet(1, Instruction.PING), Packet(1, Instruction.WRITE, b"\x28\0")):
        [answer] = bus.handle(packet, 0.0)
        assert Parser().feed(answer.data) == [Packet(1, complaint)]
    [answer] = bus.handle(Packet(2, Instruction.PING), 0.0)
    assert answer.data == encode(Packet(2, 0))


def test_faults_begin_and_end_by_the_clock(bus, faults):
    inject(faults, bus, Fault("unplug", start=1.0, duration=0.5), now=10.0)
    seen = []
    for now in (10.0, 10.9, 11.0, 11.4, 11.5):
        faults.update(now)
        seen.append(faults.unplugged)
    assert seen == [False, False, True, True, False]
    [entry] = faults.report()
    assert (entry["first"], entry["struck"], entry["over"]) == (11.0, 1, True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "flood"}, "'flood' is unknown"),
        ({"kind": "drop", "probability": 0}, "probability=0"),
        ({"kind": "drop", "count": 0}, "count=0"),
        ({"kind": "drop", "servos": (300,)}, "ids from 0 to 253"),
        ({"kind": "drop", "start": float("nan")}, "start=nan"),
        ({"kind": "drop", "duration": 0}, "duration=0"),
        ({"kind": "delay", "value": -1}, "value=-1"),
    ],
)
def test_impossible_faults(values, message):
    with pytest.raises(UserError, match=message):
        Fault(**values)


def test_no_such_number(faults):
    with pytest.raises(UserError, match="no fault number 3"):
        faults.clear(3)


def test_schedules_from_files(tmp_path):
    path = tmp_path / "faults.yaml"
    path.write_text(
        "- {kind: drop, servos: [1, 2], probability: 0.5}\n- {kind: unplug, start: 3}\n"
    )
    assert load_schedule(path) == [
        Fault("drop", (1, 2), probability=0.5),
        Fault("unplug", start=3.0),
    ]
    for text, message in [
        ("kind: drop", "must be a list"),
        ("- {servos: [1]}", "has no kind"),
        ("- {kind: drop, sevros: [1]}", "did you mean '?servos"),
        ("- [", "cannot be read as YAML"),
    ]:
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            load_schedule(path)
    with pytest.raises(UserError, match="cannot be read"):
        load_schedule(tmp_path / "none.yaml")


def test_random_schedules_hold_all_kinds_one_after_another():
    faults = draw_schedule(5, 1000)
    assert faults == draw_schedule(5, 1000) != draw_schedule(6, 1000)
    counts = Counter(fault.kind for fault in faults)
    assert set(counts) == set(KINDS)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert [fault.kind for fault in faults[:16]] != [fault.kind for fault in faults[16:32]]
    for fault, following in pairwise(faults):
        assert fault.start + fault.duration < following.start
