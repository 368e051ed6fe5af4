"""The table of signals."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from robobase import signals
from robobase.signals import Interrupted, StopRequest


@pytest.fixture
def no_echo(monkeypatch):
    """Signals count however quickly they follow each other."""
    monkeypatch.setattr(signals, "_ECHO_SECONDS", 0.0)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU"])
def test_every_signal_of_the_table_asks_for_a_stop_and_interrupts_where_nothing_is_saved(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop
        signal.raise_signal(number)
        assert stop.reason == name
    with pytest.raises(Interrupted) as caught, signals.interrupts():
        signal.raise_signal(number)
    assert signals.exit_code(caught.value) == 128 + number
    assert signal.getsignal(number) is before


def test_the_second_signal_only_speaks_and_the_third_ends(no_echo, capfd):
    with StopRequest(saving="half of it is written") as stop:
        signal.raise_signal(signal.SIGTERM)
        assert capfd.readouterr().err == ""
        signal.raise_signal(signal.SIGINT)
        assert "SIGINT again: half of it is written; a third signal" in capfd.readouterr().err
        with pytest.raises(Interrupted, match="SIGTERM"):
            signal.raise_signal(signal.SIGTERM)
    assert stop.reason == "SIGTERM"


def test_an_echo_is_not_a_second_signal(capfd):
    """A closed terminal: the kernel and the shell both say so."""
    with signals.interrupts(), StopRequest() as stop:
        for _ in range(5):
            signal.raise_signal(signal.SIGHUP)
        assert stop.signals == 1
    assert capfd.readouterr().err == ""


def test_an_echo_does_not_disturb_what_follows_the_stop():
    with signals.interrupts():
        with StopRequest():
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT"])
def test_what_was_ignored_stays_ignored(name):
    """nohup, and jobs that a script starts in the background."""
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with signals.interrupts(), StopRequest() as stop:
            signal.raise_signal(number)
            assert not stop
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_worker_leaves_all_of_them_to_its_parent():
    code = """
import os, signal
from robobase import signals
signals.leave_to_parent()
for number in signals.STOPPING:
    os.kill(os.getpid(), number)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


TALKS = """
import sys, time
from pathlib import Path
from robobase.signals import StopRequest
with StopRequest() as stop:
    while not stop:
        print("at work", flush=True)
        time.sleep(0.01)
    for _ in range(20):
        print("saving", flush=True)
        print("saving", file=sys.stderr, flush=True)
Path(sys.argv[1]).write_text(stop.reason)
"""


def test_a_closed_terminal_does_not_keep_from_saving(tmp_path):
    """Every word to it would be an error."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", TALKS, str(tmp_path / "saved")])
    assert b"at work" in os.read(terminal, 100)
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0
    assert (tmp_path / "saved").read_text() == "SIGHUP"


WATCHED = """
import sys, time
from robobase import signals
signals.end_with_parent()
print("began", flush=True)
with signals.StopRequest() as stop:
    while not stop:
        time.sleep(0.01)
print("saved", flush=True)
"""


def test_a_process_ends_with_its_parent():
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED],
        pass_fds=[read],
        env={**os.environ, signals.PARENT: str(read)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "began\n"
    time.sleep(0.1)
    assert process.poll() is None
    os.close(write)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
    process.kill()
    assert process.stdout.read() == "saved\n"
    os.close(read)


def test_what_cannot_wait_hears_every_signal(monkeypatch):
    monkeypatch.setattr(signals, "_ECHO_SECONDS", 60.0)
    heard = []
    with signals.heard_by(heard.append):
        for number in signals.STOPPING:
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [*signals.STOPPING, signal.SIGTERM]
