"""Errors of ports, on pseudo-terminals and files."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("serial")

from robobase.errors import UserError
from so101_robobase.robot.real import ports

NOBODY = 65534


@pytest.fixture
def port() -> Iterator[str]:
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_a_missing_port_says_which_there_are():
    with pytest.raises(
        UserError, match=r"port /dev/ttyNONE does not exist; (serial ports here|there is no)"
    ):
        ports.PortLock("/dev/ttyNONE")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_port(tmp_path: Path, kind):
    path = tmp_path
    if kind == "file":
        path = tmp_path / "file"
        path.touch()
    with pytest.raises(
        UserError, match=f"{path} (is not a serial port|cannot be opened)|port {path}"
    ):
        ports.PortLock(str(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become somebody else")
def test_without_permission_the_group_is_named(port):
    os.chmod(port, 0o600)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(UserError, match=r"no permission to use .*usermod -aG \w+ \$USER"):
            ports.PortLock(port)
    finally:
        os.seteuid(0)


def test_a_claimed_port_cannot_be_claimed_until_it_is_released(port):
    claim = ports.PortLock(port)
    with pytest.raises(UserError, match=f"{port} is in use by another process"):
        ports.PortLock(port)
    claim.release()
    claim.release()
    ports.PortLock(port).release()


def test_pyserials_lock_is_respected(port):
    import serial

    with serial.Serial(port, exclusive=True), pytest.raises(UserError, match="is in use"):
        ports.PortLock(port)


def test_others_may_open_a_claimed_port_without_a_lock(port):
    """As our own watchdog does."""
    import serial

    claim = ports.PortLock(port)
    serial.Serial(port).close()
    claim.release()


def test_the_process_that_has_a_port_is_named(port):
    code = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert [process.id for process in ports.holders(port)] == [other.pid]
        with pytest.raises(UserError, match=rf"in use by process {other.pid} \(.*python.*\); end"):
            ports.PortLock(port)
        other.communicate(b"\n")
    ports.PortLock(port).release()


def test_a_process_without_a_lock_is_found_too(port, monkeypatch):
    """LeRobot's tools do not lock. A pseudo-terminal's server looks the same, so it is exempt."""
    monkeypatch.setattr(ports, "_PSEUDO_TERMINALS", "/dev/none/")
    ports.PortLock(port).release()
    code = "import sys; f = open(sys.argv[1]); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UserError, match=f"in use by process {other.pid}"):
            ports.PortLock(port)
        other.communicate(b"\n")
    ports.PortLock(port).release()


def test_a_failed_claim_leaves_nothing_open(port):
    claim = ports.PortLock(port)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(UserError):
            ports.PortLock(port)
    assert len(os.listdir("/proc/self/fd")) == before
    claim.release()


def test_claims_do_not_pass_to_children(port):
    claim = ports.PortLock(port)
    flags = fcntl.fcntl(claim._file, fcntl.F_GETFD)
    assert flags & fcntl.FD_CLOEXEC
    claim.release()


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (dict.fromkeys(ports.IDS), "nothing answers on P: is the arm's power supply on"),
        (
            dict.fromkeys(ports.IDS, 777) | {4: None},
            r"^wrist_flex \(id 4\) does not answer on P",
        ),
        (
            dict.fromkeys(ports.IDS, 777) | {5: None, 6: None},
            r"^wrist_roll \(id 5\), gripper \(id 6\) do not answer.*to and from wrist_roll",
        ),
        (
            dict.fromkeys(ports.IDS, 777) | {1: 1284},
            r"shoulder_pan \(id 1\) on P has model number 1284, not 777 \(STS3215\)",
        ),
    ],
)
def test_servos_that_are_not_an_arms(models, message):
    with pytest.raises(UserError, match=message):
        ports.check_servos("P", models)


def test_an_arms_servos_are_well():
    ports.check_servos("P", dict.fromkeys(ports.IDS, 777))
