"""The jobs of a multirun as processes: nothing is lost, nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robobase.launcher import Job, Launch
from robobase.sweep import FAILURE, report_failures

# Stands for a training: begins, and saves when it is asked to stop. `slow` ones take for ever, and
# `greedy` ones are killed as by the kernel where memory runs out.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from robobase import signals
signals.end_with_parent()
(word,) = [word for word in sys.argv if word.startswith("hydra.run.dir=")]
folder, kind = Path(word.partition("=")[2]), sys.argv[-1]
folder.mkdir(parents=True)
with signals.StopRequest() as stop:
    (folder / "pid").write_text(str(os.getpid()))
    if kind == "greedy":
        os.kill(os.getpid(), signal.SIGKILL)
    while kind == "slow" and not stop:
        time.sleep(0.01)
    time.sleep(0.3)
(folder / "saved").write_text(str(stop.reason))
"""
MULTIRUN = """
import sys
from pathlib import Path
from robobase.launcher import Job, Launch
root, program, kinds = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
jobs = [Job(number, root / str(number), (kind,)) for number, kind in enumerate(kinds)]
print("stopped by", Launch(jobs, [sys.executable, program], 2).run(), flush=True)
"""


@pytest.fixture
def program(tmp_path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def start(tmp_path, program, *kinds: str, **options) -> subprocess.Popen:
    """A multirun of two jobs at a time, when as many have begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", MULTIRUN, str(tmp_path), str(program), *kinds],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test that is started in the background would pass on that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )
    wait(lambda: len(list(tmp_path.glob("*/pid"))) == 2)
    return process


def wait(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid_file: Path) -> bool:
    try:
        status = Path("/proc", pid_file.read_text(), "stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def saved(tmp_path) -> dict[str, str]:
    return {file.parent.name: file.read_text() for file in tmp_path.glob("*/saved")}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_to_the_parent_lets_every_job_save(tmp_path, program, name):
    process = start(tmp_path, program, "slow", "slow", "slow")
    process.send_signal(getattr(signal, name))
    out, _ = process.communicate(timeout=60)
    assert out.endswith(f"stopped by {name}\n")
    assert len(saved(tmp_path)) == 2
    assert not (tmp_path / "2").exists()
    assert not any(map(is_running, tmp_path.glob("*/pid")))


def test_ctrl_c_in_a_terminal_lets_every_job_save(tmp_path, program):
    """It reaches the whole foreground process group."""
    process = start(tmp_path, program, "slow", "slow", "slow", start_new_session=True)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert saved(tmp_path) == {"0": "SIGTERM", "1": "SIGTERM"}  # once each, by the parent


def test_jobs_of_a_parent_that_was_killed_save_and_end(tmp_path, program):
    process = start(tmp_path, program, "slow", "slow", "slow")
    process.kill()
    process.communicate(timeout=60)
    wait(lambda: not any(map(is_running, tmp_path.glob("*/pid"))))
    assert saved(tmp_path) == {"0": "SIGTERM", "1": "SIGTERM"}


def test_a_job_that_is_killed_takes_no_other_along_and_is_named(tmp_path, program, capfd):
    kinds = ["greedy", "quick", "quick"]
    jobs = [Job(number, tmp_path / str(number), (kind,)) for number, kind in enumerate(kinds)]
    assert Launch(jobs, [sys.executable, str(program)], at_once=2).run() is None
    assert saved(tmp_path) == {"1": "None", "2": "None"}
    reason = "killed by SIGKILL, for want of memory perhaps"
    assert (tmp_path / "0" / FAILURE).read_text() == f"{reason}\n"
    capfd.readouterr()
    assert report_failures(tmp_path, 3) == 1
    assert capfd.readouterr().err.splitlines() == [
        "error: 1 of 3 jobs failed",
        f"  {tmp_path}/0: {reason}",
    ]


def test_a_program_that_cannot_be_started_is_named(tmp_path):
    assert Launch([Job(0, tmp_path / "0", ())], ["/nowhere"], at_once=1).run() is None
    assert "could not be started: No such file" in (tmp_path / "0" / FAILURE).read_text()
