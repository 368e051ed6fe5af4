"""The watchdog's process, on emulated servos. It needs no LeRobot."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.faults import Fault
from so101_robobase.robot.real import ports
from so101_robobase.robot.safety import watchdog
from so101_robobase.robot.safety.watchdog import (
    DISMISSED,
    GAVE_UP,
    RELEASED,
    TAKEN_OVER,
    WatchdogProcess,
)

serial = pytest.importorskip("serial")

IDS = [1, 2, 3, 4, 5, 6]
SOON = 10.0  # s: a busy machine; 0.5 s is what is promised on a free one
TORQUE_ON = [watchdog._packet(id_, 3, bytes([40, 1])) for id_ in IDS]


def until(condition, seconds: float = SOON) -> bool:
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture
def held(bus: EmulatedBus) -> Iterator[EmulatedBus]:
    """The arm with torque in all servos, and nobody at the port."""
    with serial.Serial(bus.port, 1_000_000) as port:
        for packet in TORQUE_ON:
            port.write(packet)
        assert until(lambda: not bus.state().limp.any())
    return bus


def start(bus: EmulatedBus, log: Path, *arguments: str) -> subprocess.Popen:
    """The process alone, as a loop starts it."""
    command = [sys.executable, "-P", watchdog.__file__, "--port", bus.port, "--log", str(log)]
    process = subprocess.Popen(
        [*command, "--ids", *map(str, IDS), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdout is not None
    assert process.stdout.read(1) == b"r"
    return process


LOOP = """
import sys, time
from so101_robobase.robot.safety.watchdog import WatchdogProcess
ids = [1, 2, 3, 4, 5, 6]
guard = WatchdogProcess(sys.argv[1], ids, timeout=float(sys.argv[3]), log=sys.argv[2])
guard.beat()
print("guarded", flush=True)
while True:
    guard.beat()
    time.sleep(0.02)
"""


def loop(bus: EmulatedBus, log: Path, timeout: float) -> subprocess.Popen:
    """A process that beats."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP, bus.port, str(log), str(timeout)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"guarded\n"
    return process


def test_torque_goes_off_when_the_loop_is_killed(held, tmp_path):
    log = tmp_path / "log"
    process = loop(held, log, timeout=60.0)
    time.sleep(0.2)
    assert not held.state().limp.any()
    process.kill()
    process.wait()
    assert until(lambda: held.state().limp.all())
    assert until(lambda: "torque is off in all servos" in log.read_text())
    assert "the loop's process has ended" in log.read_text()
    for id_ in IDS:
        assert f"servo {id_}: torque off" in log.read_text()
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:]+Z \d+\.\d{4} watchdog: ", log.read_text())


def test_torque_goes_off_when_the_loop_hangs(held, tmp_path):
    log = tmp_path / "log"
    process = loop(held, log, timeout=1.0)
    try:
        process.send_signal(signal.SIGSTOP)
        assert until(lambda: held.state().limp.all())
        assert until(lambda: "torque is off in all servos" in log.read_text())
        assert "no sign of life for 1.0 s" in log.read_text()
    finally:
        process.kill()
        process.wait()


def test_a_guarded_loop_keeps_its_torque_and_a_goodbye_ends_it_in_silence(held, tmp_path):
    guard = WatchdogProcess(held.port, IDS, timeout=2.0, log=tmp_path / "log")
    packets = held.state().packets
    for _ in range(150):
        guard.beat()
        time.sleep(0.02)
    assert not guard.fired
    guard.dismiss()
    guard.dismiss()
    assert guard._process.returncode == DISMISSED
    assert not guard.fired
    assert held.state().packets == packets
    assert not held.state().limp.any()
    assert not (tmp_path / "log").exists()
    guard.beat()  # has nobody to reach, and does not mind


def test_the_loop_learns_that_it_has_fired(held, tmp_path):
    guard = WatchdogProcess(held.port, IDS, timeout=0.3, log=tmp_path / "log")
    guard.beat()
    assert until(lambda: guard.fired)
    assert until(lambda: held.state().limp.all())
    guard.beat()
    guard.dismiss()
    assert guard.fired


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_do_not_end_it(held, tmp_path, name):
    process = start(held, tmp_path / "log", "--timeout", "60")
    os.kill(process.pid, getattr(signal, name))
    time.sleep(0.2)
    assert process.poll() is None
    process.communicate(b"q")
    assert process.returncode == DISMISSED


def test_it_is_in_a_process_group_of_its_own(held, tmp_path):
    guard = WatchdogProcess(held.port, IDS, timeout=60, log=tmp_path / "log")
    assert os.getpgid(guard._process.pid) != os.getpgid(0)
    guard.dismiss()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("drop", probability=0.3),
        Fault("corrupt", probability=0.3),
        Fault("truncate", probability=0.3),
        Fault("lose", probability=0.3),
        Fault("delay", probability=0.3, value=0.03),
        Fault("overload", servos=[1]),
        Fault("overheat", value=90),
    ],
    ids=lambda fault: fault.kind,
)
def test_it_goes_on_until_every_servo_has_confirmed(held, tmp_path, fault):
    held.inject(fault)
    log = tmp_path / "log"
    process = start(held, log)
    process.stdin.close()
    assert process.wait(SOON) == RELEASED
    held.clear()
    time.sleep(0.05)  # servos that gave way would hold again, had they not been told
    assert held.state().limp.all()
    assert log.read_text().count("torque off\n") == len(IDS)


def test_half_a_packet_of_the_dead_loop_does_no_harm(held, tmp_path):
    with serial.Serial(held.port, 1_000_000) as port:
        port.write(TORQUE_ON[0][:5])
    process = start(held, tmp_path / "log")
    process.stdin.close()
    assert process.wait(SOON) == RELEASED
    assert held.state().limp.all()


def test_a_port_that_comes_back_later_is_used_then(held, tmp_path):
    held.inject(Fault("unplug", duration=1.0))
    process = start(held, tmp_path / "log")
    process.stdin.close()
    assert process.wait(SOON) == RELEASED
    assert held.state().limp.all()


def test_a_servo_without_power_is_named_in_the_end(held, tmp_path):
    held.inject(Fault("dead", servos=[3]))
    process = start(held, tmp_path / "log", "--give_up", "0.5")
    process.stdin.close()
    assert process.wait(SOON) == GAVE_UP
    assert "gave up: servos [3] did not confirm" in (tmp_path / "log").read_text()
    assert held.state().limp.all()


def test_a_new_rollout_on_the_port_is_left_alone(held, tmp_path):
    held.inject(Fault("brown_out"))
    process = start(held, tmp_path / "log")
    claim = ports.PortLock(held.port)
    process.stdin.close()
    assert process.wait(SOON) == TAKEN_OVER
    claim.release()
    assert "another process uses" in (tmp_path / "log").read_text()


def test_it_starts_without_the_rest_of_the_package():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['watchdog', '--help']\n"
        "try: runpy.run_path(sys.orig_argv[-1], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "import serial\n"
        "heavy = {'numpy', 'gymnasium', 'torch', 'mujoco', 'lerobot', 'so101_robobase', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-P", "-c", code, watchdog.__file__],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines()[-1] == "[]"


def test_a_process_that_does_not_start_is_an_error(monkeypatch):
    monkeypatch.setattr(watchdog, "__file__", "/nonexistent.py")
    with pytest.raises(RuntimeError, match="did not start"):
        WatchdogProcess("/dev/ttyNONE", IDS)


def test_abandoned_it_turns_torque_off_and_outlives_the_loop(held: EmulatedBus, tmp_path: Path):
    dog = WatchdogProcess(held.port, IDS, log=tmp_path / "log")
    held.inject(Fault("lose"))  # servos hear nothing at first
    dog.abandon()
    log = tmp_path / "log"
    assert until(lambda: log.exists() and "has ended" in log.read_text())
    assert not held.state().limp.all()
    held.clear()
    assert until(lambda: held.state().limp.all())
    assert until(lambda: "torque is off in all servos" in log.read_text())


def test_a_loop_that_never_begins_is_given_longer(held: EmulatedBus, tmp_path: Path):
    began = time.monotonic()
    dog = WatchdogProcess(held.port, IDS, timeout=0.1, log=tmp_path / "log")
    assert until(lambda: dog.fired, 3 * watchdog.CONNECTING)
    assert time.monotonic() - began >= watchdog.CONNECTING
    assert until(lambda: held.state().limp.all())
    dog.dismiss()
