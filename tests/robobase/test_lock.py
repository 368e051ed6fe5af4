"""A lock lets one holder in, names it to the others, and ends with its process."""

import os
import signal
import subprocess
import sys
import time

import pytest

from robobase.errors import UserError
from robobase.lock import FileLock

HOLD = """
import sys, time
from pathlib import Path
from robobase.lock import FileLock
lock = FileLock(Path(sys.argv[1]), "thing")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / ".lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_refused_and_told_who_is_first(tmp_path, other):
    with pytest.raises(UserError, match=f"dataset is in use by process {other.pid} .*; wait"):
        FileLock(tmp_path / ".lock", "dataset")


def test_a_killed_holder_holds_nothing(tmp_path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    FileLock(tmp_path / ".lock", "dataset").release()


def test_nothing_stays_after_release_and_the_next_one_may_have_it(tmp_path):
    for _ in range(2):
        with FileLock(tmp_path / ".lock", "dataset") as lock:
            lock.release()
        assert list(tmp_path.iterdir()) == []


def test_one_process_cannot_hold_it_twice(tmp_path):
    with (
        FileLock(tmp_path / ".lock", "dataset"),
        pytest.raises(UserError, match=f"in use by process {os.getpid()}"),
    ):
        FileLock(tmp_path / ".lock", "dataset")


def test_a_link_in_its_place_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="cannot lock"):
        FileLock(tmp_path / ".lock", "dataset")
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_forked_child_does_not_keep_a_released_lock(tmp_path):
    lock = FileLock(tmp_path / ".lock", "dataset")
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    try:
        lock.release()
        FileLock(tmp_path / ".lock", "dataset").release()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
