"""What a run says of itself, and what is said of one that cannot."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from tiny_task import tiny_config

from robobase import locks, run_record
from robobase.callbacks import Callback
from robobase.locks import FolderLock
from robobase.run_record import RunRecord, Status, read
from robobase.workspace import Workspace

SHORT = ["num_train_frames=40", "replay_size_before_train=100", "eval_every_steps=20"]


class At(Callback):
    """Does something once, at the first evaluation after some env steps."""

    def __init__(self, env_steps, what):
        self.env_steps, self.what = env_steps, what

    def on_evaluation(self, run, metrics, prefix):
        if run.progress.env_steps >= self.env_steps:
            self.what(run)


def train(folder, *overrides, callbacks=()):
    Workspace(tiny_config(*SHORT, *overrides), work_dir=folder, callbacks=callbacks).train()


def test_a_run_says_how_far_it_is_and_that_it_is_finished(tmp_path):
    seen = []
    train(tmp_path, callbacks=[At(0, lambda run: seen.append(read(tmp_path)))])
    assert [(record.status, record.env_steps) for record in seen] == [
        (Status.RUNNING, 0),
        (Status.RUNNING, 20),
        (Status.RUNNING, 40),
    ]
    record = read(tmp_path)
    assert (record.status, record.reason) == (Status.FINISHED, None)
    assert (record.env_steps, record.num_train_frames) == (40, 40)
    assert record.seconds is not None
    assert record.seconds > 0
    assert record.started is not None
    assert record.started <= record.updated <= run_record.now()


def test_a_stopped_run_says_by_what_and_goes_on(tmp_path):
    train(tmp_path, callbacks=[At(20, lambda run: run.stop._note(15))])
    record = read(tmp_path)
    assert (record.status, record.reason, record.env_steps) == (Status.STOPPED, "SIGTERM", 20)
    run_record.write(tmp_path, RunRecord(**{**vars(record), "started": "2026-01-01T00:00:00"}))
    (tmp_path / run_record.FAILURE).write_text("of an attempt before\n")
    train(tmp_path, f"resume_from={tmp_path}")
    record = read(tmp_path)
    assert (record.status, record.env_steps) == (Status.FINISHED, 40)
    assert record.started == "2026-01-01T00:00:00"
    assert not (tmp_path / run_record.FAILURE).exists()


@pytest.mark.parametrize(
    ("error", "status"),
    [(ZeroDivisionError("by\nnought"), Status.FAILED), (KeyboardInterrupt(), Status.STOPPED)],
)
def test_a_run_that_ends_by_an_error_says_which(tmp_path, error, status):
    def fail(run):
        raise error

    with pytest.raises(type(error)):
        train(tmp_path, callbacks=[At(20, fail)])
    record = read(tmp_path)
    assert record.status == status
    assert record.reason == " ".join(str(error).split()) or type(error).__name__


def test_a_run_that_could_say_nothing_is_dead_unless_somebody_works_in_its_folder(tmp_path):
    run_record.write(tmp_path, RunRecord(Status.RUNNING, env_steps=20, num_train_frames=40))
    assert read(tmp_path).status == Status.DIED
    with FolderLock(tmp_path):
        assert read(tmp_path).status == Status.RUNNING
    (tmp_path / run_record.FAILURE).write_text("killed by SIGKILL\nmore\n")
    assert (read(tmp_path).status, read(tmp_path).reason) == (Status.FAILED, "killed by SIGKILL")


def test_a_finished_run_that_somebody_takes_up_again_runs(tmp_path):
    run_record.write(tmp_path, RunRecord(Status.FINISHED, env_steps=40, num_train_frames=40))
    with FolderLock(tmp_path):
        assert read(tmp_path).status == Status.RUNNING
    assert read(tmp_path).status == Status.FINISHED


def test_looking_does_not_keep_a_run_from_its_folder(tmp_path):
    done = threading.Event()

    def look():
        while not done.is_set():
            locks.is_held(tmp_path)
            time.sleep(0.0002)  # else it is held for longer than not

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            FolderLock(tmp_path).release()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("rows", "saved", "status"),
    [
        ([0, 40], [20, 40], Status.FINISHED),
        ([0, 40], [20], Status.DIED),  # before the last snapshot
        ([0, 20], [20], Status.STOPPED),
        ([0, 20], [10], Status.DIED),
        ([], [], Status.DIED),
    ],
)
def test_a_folder_without_a_record_is_judged_by_its_tables(tmp_path, rows, saved, status):
    (tmp_path / "config.yaml").write_text("num_train_frames: 40\nsave_snapshot: true\n")
    lines = [f"{step},{step},{step / 10}" for step in rows]
    (tmp_path / "train.csv").write_text("\n".join(["step,env_steps,total_time", *lines, ""]))
    (tmp_path / "snapshots").mkdir()
    for step in saved:
        (tmp_path / "snapshots" / f"{step}_snapshot.pt").touch()
    record = read(tmp_path)
    assert record.status == status
    assert record.env_steps == max([*rows, *saved, 0])
    assert record.num_train_frames == 40
    assert record.seconds == (rows[-1] / 10 if rows else None)
    (tmp_path / run_record.FILE).write_text("{damaged")
    assert read(tmp_path) == record


def test_a_folder_of_something_else_is_unknown(tmp_path):
    assert read(tmp_path / "missing").status == Status.UNKNOWN
    assert read(tmp_path).reason == "no run in it"
    for text in ("[]", "a: {", "num_train_frames: many"):
        (tmp_path / "config.yaml").write_text(text)
        assert read(tmp_path).status == Status.UNKNOWN


@pytest.mark.parametrize(
    "change",
    [{"status": "splendid"}, {"env_steps": -1}, {"env_steps": "1"}, {"reason": 3}, {"seconds": []}],
)
def test_a_record_of_somebody_else_is_not_believed(tmp_path, change):
    run_record.write(tmp_path, RunRecord(Status.FINISHED))
    content = json.loads((tmp_path / run_record.FILE).read_text())
    assert run_record.stored(tmp_path) is not None
    (tmp_path / run_record.FILE).write_text(json.dumps(content | change))
    assert run_record.stored(tmp_path) is None


def test_it_is_read_without_torch():
    code = "import sys, robobase.run_record; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
