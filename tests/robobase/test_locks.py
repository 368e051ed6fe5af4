"""Two processes do not write into one folder."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading

import pytest

from robobase import locks, output_folder
from robobase.errors import UserError
from robobase.locks import FolderLock

HOLD = """
import sys, time
from pathlib import Path
from robobase.locks import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other_process(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_folder_in_use_is_refused_and_the_process_named(tmp_path, other_process):
    with pytest.raises(UserError, match=f"in use by process {other_process.pid}; do this"):
        FolderLock(tmp_path, "do this")
    assert os.listdir(tmp_path) == []


def test_a_lock_dies_with_its_process(tmp_path, other_process):
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    FolderLock(tmp_path).release()


def test_a_second_lock_of_the_same_process_is_refused_until_the_first_is_released(tmp_path):
    with FolderLock(tmp_path), pytest.raises(UserError, match="in use"):
        FolderLock(tmp_path)
    FolderLock(tmp_path)  # and one that nobody holds on to is free
    FolderLock(tmp_path).release()


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    lock = FolderLock(tmp_path)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)  # until the parent has asked again
        os._exit(0)
    lock.release()
    FolderLock(tmp_path).release()
    os.close(write)
    os.waitpid(child, 0)
    os.close(read)


def test_a_folder_beside_which_nothing_may_be_written_is_locked(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    tmp_path.chmod(0o555)
    FolderLock(folder).release()
    tmp_path.chmod(0o755)


def test_a_file_system_that_locks_files_only_gets_one(tmp_path, monkeypatch):
    real = fcntl.flock

    def of_nfs(fd, operation):
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", of_nfs)
    with FolderLock(tmp_path), pytest.raises(UserError, match="in use"):
        FolderLock(tmp_path)
    assert os.listdir(tmp_path) == [locks.LOCK_FILE]
    FolderLock(tmp_path).release()


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, capsys):
    def refuse(fd, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    FolderLock(tmp_path).release()
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be locked (No locks available)" in line


def test_a_folder_that_was_renamed_or_replaced_is_noticed(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with FolderLock(folder) as lock:
        assert lock.is_in_place()
        folder.rename(tmp_path / "renamed")
        assert not lock.is_in_place()
        folder.mkdir()
        assert not lock.is_in_place()


def test_folders_asked_for_at_the_same_time_are_different(tmp_path):
    made = []
    together = threading.Barrier(8)

    def make():
        together.wait()
        made.append(output_folder.make_unique(tmp_path / "runs" / "2026-01-02_03-04-05").name)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = "2026-01-02_03-04-05"
    assert sorted(made) == [first, *(f"{first}-{number}" for number in range(2, 9))]


def test_a_folder_with_output_of_its_kind_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("may stay")
    arguments = ["*.csv"], "an evaluation", "name another --output_dir"
    output_folder.claim(tmp_path, *arguments).release()
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(UserError, match="holds an evaluation already; name another --output_dir"):
        output_folder.claim(tmp_path, *arguments)
    FolderLock(tmp_path).release()
