"""A run whose folder is removed, renamed or full ends in one line; what was safe stays."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tiny_task import CONFIG_DIR

from robobase import train
from robobase.learner import Learner
from robobase.snapshot import read

SHORT = ["num_train_frames=400", "num_gpus=0", "num_threads=1", "hydra.run.dir=disk/here"]


@pytest.fixture
def train_until(monkeypatch, capsys, tmp_path):
    """Trains in this process; `trouble()` comes after 100 env steps: exit code, lines of stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(trouble, *overrides: str) -> tuple[int, list[str]]:
        monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # not pytest's
        learn = Learner.learn

        def troubled(self):
            if self._progress.env_steps == 120:
                trouble()
            return learn(self)

        monkeypatch.setattr(Learner, "learn", troubled)
        options = ["--config-dir", str(CONFIG_DIR)]
        monkeypatch.setattr(sys, "argv", ["train", *options, "env=tiny", *SHORT, *overrides])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            train.main()
        return int(stop.value.code or 0), capsys.readouterr().err.splitlines()

    return run


WAYS = [[], ["tb.use=true"], ["snapshot_replay=true"], ["log_eval_video=true"]]


@pytest.mark.parametrize("overrides", WAYS)
def test_removed(train_until, tmp_path, overrides):
    here = tmp_path / "disk" / "here"
    code, lines = train_until(lambda: shutil.rmtree(here), *overrides)
    assert code == 2
    assert [line for line in lines if "error" in line.lower()] == lines[-1:]
    assert f"run folder {here} is gone: it was removed or renamed" in lines[-1]
    assert not here.exists()


def test_renamed(train_until, tmp_path):
    here, there = tmp_path / "disk" / "here", tmp_path / "there"
    code, (line,) = train_until(lambda: here.rename(there))
    assert (code, "is gone" in line) == (2, True)
    assert not here.exists()
    assert read(there / "snapshots" / "latest_snapshot.pt")["progress"]["env_steps"] == 100


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MB, where this process may mount one; a function fills it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this process may not mount a file system")

    def fill() -> None:
        with open(disk / "filler", "wb") as file:
            try:
                while True:
                    file.write(bytes(2**16))
                    file.flush()
            except OSError:
                pass

    yield fill
    subprocess.run(["umount", "-l", str(disk)], check=True)


def snapshots(tmp_path) -> dict[str, int]:
    folder: Path = tmp_path / "disk" / "here" / "snapshots"
    assert not list(folder.glob(".*"))
    return {file.name: read(file)["progress"]["env_steps"] for file in folder.iterdir()}


@pytest.mark.parametrize("overrides", WAYS)
def test_a_full_disk(train_until, small_disk, tmp_path, overrides):
    code, lines = train_until(small_disk, *overrides)
    assert code == 2
    assert [line for line in lines if "rror" in line] == lines[-1:], lines
    assert "No space left on device" in lines[-1]
    assert "the earlier snapshots are untouched" in lines[-1]
    assert snapshots(tmp_path)["latest_snapshot.pt"] == 100


@pytest.mark.parametrize("overrides", WAYS)
def test_a_limit_on_the_size_of_files(train_until, tmp_path, overrides):
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))  # noqa: E731
        code, lines = train_until(limit, *overrides)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert code == 2
    assert [line for line in lines if "rror" in line] == lines[-1:], lines
    assert "File too large" in lines[-1]
    assert snapshots(tmp_path)["latest_snapshot.pt"] == 100
    assert os.listdir(tmp_path) == ["disk"]
