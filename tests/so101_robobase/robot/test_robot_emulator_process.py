"""The emulator process at its port, byte by byte, and its life from start to end."""

import contextlib
import dataclasses
import errno
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.emulator_config import EmulatorConfig
from so101_robobase.robot.emulator.faults import Fault
from so101_robobase.robot.emulator.protocol import (
    BROADCAST,
    Alarm,
    Instruction,
    Packet,
    Parser,
    encode,
)
from so101_robobase.robot.emulator.servo_calibration import COUNT, MIDDLE
from so101_robobase.robot.emulator.shared import LIMP
from so101_robobase.tasks.lift.config import LiftConfig

IDS = range(1, NUM_JOINTS + 1)
SOON = 20.0  # s, the machine may be busy


class Line:
    """A client that knows bytes alone."""

    def __init__(self, port):
        self.file = os.open(port, os.O_RDWR | os.O_NOCTTY)
        self.parser = Parser()

    def send(self, data):
        os.write(self.file, data)

    def receive(self, number, patience=SOON):
        """At least `number` packets, fewer if they do not come."""
        packets, give_up = [], time.monotonic() + patience
        while len(packets) < number and time.monotonic() < give_up:
            if select.select([self.file], [], [], 0.1)[0]:
                packets += self.parser.feed(os.read(self.file, 4096))
        return packets

    def ask(self, code, *data, servo=BROADCAST, number=1):
        self.send(encode(Packet(servo, code, bytes(data))))
        return self.receive(number)

    def write(self, servo, *data):
        return self.ask(Instruction.WRITE, *data, servo=servo)

    def sync_read(self, address, length):
        packets = self.ask(Instruction.SYNC_READ, address, length, *IDS, number=NUM_JOINTS)
        return [int.from_bytes(packet.parameters, "little") for packet in packets]

    def close(self):
        os.close(self.file)


@pytest.fixture(scope="module")
def emulator():
    with EmulatedBus(EmulatorConfig(LiftConfig(), seed=3, timing=False)) as bus:
        yield bus


@pytest.fixture
def bus(emulator):
    yield emulator
    emulator.clear()
    until(lambda: emulator.state().plugged)
    line = Line(emulator.port)
    line.send(encode(Packet(BROADCAST, Instruction.WRITE, bytes([40, 0]))))
    until(lambda: emulator.state().limp.all())
    line.close()


@pytest.fixture
def line(bus):
    line = Line(bus.port)
    yield line
    line.close()


def until(condition):
    give_up = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < give_up, "it did not come to pass"
        time.sleep(0.005)


def torque_on(line, bus):
    for servo in IDS:
        assert line.write(servo, 40, 1) == [Packet(servo, 0)]
    assert not bus.state().limp.any()


def angles(bus, counts):
    """rad of positions by the calibration, as the model has them."""
    middles = np.zeros(NUM_JOINTS)
    middles[5] = np.deg2rad(45)  # of the jaw, -10 to 100 degrees
    return (np.array(counts) - MIDDLE) * COUNT + middles


def test_servos_introduce_themselves(line):
    assert line.ask(Instruction.PING, number=6) == [Packet(servo, 0) for servo in IDS]
    assert line.sync_read(3, 2) == [777] * 6
    assert line.sync_read(0, 2) == [3 + 256 * 10] * 6
    assert line.sync_read(62, 2) == [74 + 256 * 25] * 6


def test_broken_packets_are_not_answered(line, bus):
    broken = bytearray(encode(Packet(1, Instruction.WRITE, bytes([40, 1]))))
    broken[-1] ^= 1
    rejected = bus.state().rejected
    line.send(bytes(broken) + b"\x00\xff\x07" + encode(Packet(2, Instruction.PING)))
    assert line.receive(1) == [Packet(2, 0)]
    assert bus.state().rejected > rejected
    line.send(b"\xff\xff\x01\xfa")  # the beginning of a very long packet, and no more
    time.sleep(0.1)
    assert line.ask(Instruction.PING, servo=4) == [Packet(4, 0)]


def test_positions_are_those_of_the_body(line, bus):
    torque_on(line, bus)
    bus.begin(1)
    until(lambda: np.abs(bus.state().qvel).max() < 0.01)
    counts = line.sync_read(56, 2)
    assert np.abs(angles(bus, counts) - bus.state().qpos[:6]).max() < 1.5 * COUNT


def test_goals_move_the_body_and_are_logged(line, bus):
    bus.begin(1)
    torque_on(line, bus)
    before = len(bus.commands())
    wanted = [2000, 1900, 2100, 2200, 2300, 2400]
    data = bytes(b for s, w in zip(IDS, wanted, strict=True) for b in (s, *w.to_bytes(2, "little")))
    line.send(encode(Packet(BROADCAST, Instruction.SYNC_WRITE, bytes([42, 2]) + data)))
    until(lambda: len(bus.commands()) == before + 6)
    commands = bus.commands()[before:]
    assert commands["joint"].tolist() == list(range(6))
    assert commands["value"].tolist() == wanted
    np.testing.assert_allclose(commands["angle"], angles(bus, wanted), atol=1e-5)
    assert (commands["time"] <= time.monotonic()).all()
    until(lambda: np.abs(bus.state().qpos[:6] - angles(bus, wanted)).max() < np.deg2rad(2))


def test_a_goal_beyond_the_limit_is_logged_but_not_followed(line, bus):
    bus.begin(1)
    torque_on(line, bus)
    limit = bus.calibration["shoulder_pan"]["range_max"]
    line.write(1, 42, *(4000).to_bytes(2, "little"))
    assert bus.commands()[-1]["value"] == 4000
    assert bus.commands()[-1]["angle"] == pytest.approx(angles(bus, [4000] * 6)[0], abs=1e-5)
    until(lambda: np.isclose(bus.state().target[0], angles(bus, [limit] * 6)[0], atol=1e-5))


def test_torque_of_one_joint_alone(line, bus):
    bus.begin(1)
    torque_on(line, bus)
    held = bus.state().qpos[:6]
    line.write(2, 40, 0)
    assert bus.state().limp.tolist() == [False, True] + [False] * 4
    assert bus.events()[-1]["kind"] == LIMP
    assert bus.events()[-1].tolist()[2:4] == (1, 1)
    until(lambda: bus.state().qpos[1] > held[1] + 0.1)  # the shoulder gives way to gravity
    assert np.abs(bus.state().qpos[[0, 4, 5]] - held[[0, 4, 5]]).max() < 0.05


def test_the_port_outlives_its_clients(bus):
    for servo in IDS:
        line = Line(bus.port)
        assert line.ask(Instruction.PING, servo=servo) == [Packet(servo, 0)]
        line.close()
        time.sleep(0.01)


def test_servos_hear_their_own_baud_rate_only(bus):
    termios = pytest.importorskip("termios")
    line = Line(bus.port)
    attributes = termios.tcgetattr(line.file)
    right = attributes[4]
    attributes[4] = attributes[5] = termios.B115200
    termios.tcsetattr(line.file, termios.TCSANOW, attributes)
    before = bus.state().packets
    line.send(encode(Packet(1, Instruction.PING)))
    until(lambda: bus.state().packets > before)
    attributes[4] = attributes[5] = right
    termios.tcsetattr(line.file, termios.TCSANOW, attributes)
    assert line.ask(Instruction.PING, servo=2) == [Packet(2, 0)]
    line.close()


def test_packet_faults_at_the_port(line, bus):
    [number] = bus.inject(Fault("drop", servos=(1,)))
    line.send(encode(Packet(1, Instruction.PING)))
    assert line.ask(Instruction.PING, servo=2) == [Packet(2, 0)]
    bus.clear(number)
    assert line.ask(Instruction.PING, servo=1) == [Packet(1, 0)]
    assert bus.faults()[number]["struck"] == 1

    bus.inject(Fault("delay", value=0.3, count=1))
    sent = time.monotonic()
    assert line.ask(Instruction.PING, servo=1) == [Packet(1, 0)]
    assert time.monotonic() - sent >= 0.3

    bus.inject(Fault("duplicate", count=1))
    assert line.ask(Instruction.PING, servo=1, number=2) == [Packet(1, 0)] * 2

    bus.inject(Fault("truncate", value=4, count=1))
    line.send(encode(Packet(1, Instruction.PING)) + encode(Packet(2, Instruction.PING)))
    assert line.receive(1) + line.parser.skip() == [Packet(2, 0)]

    bus.inject(Fault("corrupt", count=1))
    line.send(encode(Packet(1, Instruction.READ, b"\x38\x02")) + encode(Packet(2, 1)))
    received = line.receive(1, 1.0)
    while line.parser.waiting:
        received += line.parser.skip()
    assert received[-1:] == [Packet(2, 0)]
    assert not any(packet.id == 1 and len(packet.parameters) == 2 for packet in received)

    bus.inject(Fault("lose", servos=(3,), count=1))
    line.send(encode(Packet(3, Instruction.WRITE, bytes([41, 99]))))
    assert line.ask(Instruction.READ, 41, 1, servo=3) == [Packet(3, 0, b"\0")]


def test_complaints_at_the_port(line, bus):
    torque_on(line, bus)
    bus.inject(Fault("overload", servos=(2,)), Fault("low_voltage", servos=(3,)))
    assert line.ask(Instruction.PING, servo=2) == [Packet(2, Alarm.OVERLOAD)]
    assert line.ask(Instruction.PING, servo=3) == [Packet(3, Alarm.VOLTAGE)]
    state = bus.state()
    assert state.alarms.tolist() == [0, Alarm.OVERLOAD, Alarm.VOLTAGE, 0, 0, 0]
    assert state.limp.tolist() == [False, True, False, False, False, False]
    assert line.write(2, 41, 7) == [Packet(2, Alarm.OVERLOAD)]
    bus.clear()
    assert line.ask(Instruction.READ, 41, 1, servo=2) == [Packet(2, 0, b"\x07")]
    assert not bus.state().limp.any()


def test_a_brown_out_takes_torque_and_ram(line, bus):
    torque_on(line, bus)
    line.write(1, 41, 7)
    bus.inject(Fault("brown_out", duration=0.1))
    assert bus.state().limp.all()
    until(lambda: bus.faults()[-1]["over"])
    assert line.sync_read(40, 2) == [0] * 6  # torque and acceleration
    assert bus.state().limp.all()
    assert line.ask(Instruction.READ, 9, 2, servo=2)[0].parameters == bus.calibration[
        "shoulder_lift"
    ]["range_min"].to_bytes(2, "little")


def test_unplugging_hangs_up_and_replugging_needs_opening_again(bus):
    line = Line(bus.port)
    torque_on(line, bus)
    bus.inject(Fault("unplug"))
    assert not os.path.lexists(bus.port)
    assert not bus.state().plugged
    assert not bus.state().limp.any()  # the supply is another cable
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        line.send(encode(Packet(1, Instruction.PING)))
    assert os.read(line.file, 10) == b""
    line.close()
    bus.clear()
    line = Line(bus.port)
    assert line.ask(Instruction.PING, servo=1) == [Packet(1, 0)]
    line.close()


def test_the_cube_goes_where_an_evaluation_puts_it(line, bus):
    bus.begin(5)
    begun = bus.state().qpos
    bus.begin(6)
    assert np.abs(bus.state().qpos[6:9] - begun[6:9]).max() > 1e-3
    torque_on(line, bus)
    arm = bus.state().qpos[:6]
    bus.place_cube(5)
    np.testing.assert_allclose(bus.state().qpos[6:8], begun[6:8], atol=1e-3)
    assert np.abs(bus.state().qpos[:6] - arm).max() < 0.1


def test_time_is_real(bus):
    before = bus.state()
    time.sleep(0.5)
    after = bus.state()
    passed = after.time - before.time
    left_out = after.slipped - before.slipped
    assert 0.4 < passed < SOON
    assert after.simulated - before.simulated == pytest.approx(passed - left_out, abs=0.01)


def test_requests_that_are_refused(bus):
    with pytest.raises(ValueError, match="seed=-1"):
        bus.place_cube(-1)
    with pytest.raises(ValueError, match="no known do; known: inject"):
        bus._ask("dance")
    with pytest.raises(ValueError, match="no fault number"):
        bus.clear(10**6)
    assert bus.alive


def test_no_torch_in_the_process(bus):
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc")
    assert "libtorch" not in Path(f"/proc/{bus.pid}/maps").read_text()
    check = "import sys, so101_robobase.robot.emulator.server; " + (
        "sys.exit(bool({'torch', 'lerobot'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_configs_survive_the_way_to_the_process():
    lift = LiftConfig(stage={0: 0.5, 3: 0.5}, lift_height=0.1)
    lift = dataclasses.replace(lift, scene=dataclasses.replace(lift.scene, camera_fovy=60.0))
    config = EmulatorConfig(lift, 7, 2, (0.0,) * 6, (2, 1, 3, 4, 5, 6), False, (Fault("dead"),))
    back = EmulatorConfig.from_json(config.to_json())
    assert back.task.stage_weights == lift.stage_weights
    assert dataclasses.replace(back.task, stage=lift.stage) == lift
    assert dataclasses.replace(back, task=lift) == config
    with pytest.raises(UserError, match="ids"):
        EmulatorConfig(ids=(1, 2))
    with pytest.raises(UserError, match="pose"):
        EmulatorConfig(pose=(0.0,) * 5)


def test_a_taken_link_is_refused(tmp_path):
    taken = tmp_path / "port"
    taken.write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        EmulatedBus(EmulatorConfig(), taken)
    assert taken.read_text() == "precious"
    with pytest.raises(UserError, match="not a folder"):
        EmulatedBus(EmulatorConfig(), tmp_path / "none" / "port")


COMMAND = """
import argparse
from so101_robobase.robot.emulator import emulator_command
parser = argparse.ArgumentParser()
emulator_command.configure(parser)
raise SystemExit(emulator_command.run(parser.parse_args()))
"""


@pytest.fixture
def command(tmp_path):
    arguments = [
        "--link",
        str(tmp_path / "arm"),
        "--calibration_dir",
        str(tmp_path / "calibration"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", COMMAND, *arguments], stdout=subprocess.PIPE, text=True
    )
    yield process
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()
    process.stdout.close()


def child_of(pid):
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_the_command_explains_itself_and_leaves_no_orphan(command, tmp_path):
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc")
    link = tmp_path / "arm"
    assert str(link) in command.stdout.readline()
    assert "--robot.calibration_dir=" in command.stdout.readline()
    assert (tmp_path / "calibration" / "emulated.json").exists()
    line = Line(link)
    assert line.ask(Instruction.PING, servo=1) == [Packet(1, 0)]
    line.close()
    emulator = child_of(command.pid)
    command.kill()
    until(lambda: not Path(f"/proc/{emulator}").exists())
    assert not os.path.lexists(link)


@pytest.mark.slow
def test_the_command_stops_on_an_interrupt(command, tmp_path):
    command.stdout.readline()
    command.send_signal(signal.SIGINT)
    assert command.wait(SOON) == 0
    assert not os.path.lexists(tmp_path / "arm")
