"""`python -m robobase.train -m`, called once more."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_task
from tiny_task import CONFIG_DIR

from robobase import train
from robobase.locks import FolderLock

SHORT = ["num_train_frames=20", "eval_every_steps=null", "num_gpus=0", "num_threads=1"]
LONGER = ["num_train_frames=200", "eval_every_steps=100"]
RECORDS = ["jobs.csv", "multirun.yaml"]
CLOCKS = ("time", "per_second")


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Runs a multirun of the tiny task in this process, one job after the other: code, out, err."""

    def run(*overrides: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        options = ["-m", "--config-dir", str(CONFIG_DIR), "hydra/launcher=basic"]
        monkeypatch.setattr(sys, "argv", ["train", *options, "env=tiny", *SHORT, *overrides])
        capsys.readouterr()
        code = 0
        try:
            train.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def signalled(monkeypatch):
    """Lets SIGTERM come at the n-th step of the training environments from now on."""

    def at(step: int) -> None:
        taken = iter(range(10**9))
        original = tiny_task.TinyVectorEnv.step

        def advance(self, actions):
            if self.num_envs == 4 and self._teacher is False and next(taken) == step:
                signal.raise_signal(signal.SIGTERM)
            return original(self, actions)

        monkeypatch.setattr(tiny_task.TinyVectorEnv, "step", advance)

    return at


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def metrics(folder: Path) -> list[dict[str, str]]:
    """Rows of the tables without what clocks say."""
    rows = []
    for name in ("train.csv", "eval.csv"):
        with open(folder / name, newline="") as file:
            rows += list(csv.DictReader(file))
    return [
        {k: v for k, v in row.items() if not any(clock in k for clock in CLOCKS)} for row in rows
    ]


def status(folder: Path) -> list[str]:
    with open(folder / "jobs.csv", newline="") as file:
        return [row["status"].partition(":")[0] for row in csv.DictReader(file)]


def test_the_same_command_resumes_what_was_interrupted_and_ends_as_if_unbroken(
    call, signalled, tmp_path
):
    assert call("seed=1,2", *LONGER, "hydra.sweep.dir=whole")[0] == 0
    signalled(30)
    assert call("seed=1,2", *LONGER)[0] == 0
    (sweep,) = (tmp_path / "runs" / "exp").iterdir()
    assert status(sweep) in (["stopped", "finished"], ["finished", "stopped"])
    code, out, _ = call(*LONGER[::-1], "seed=1,2")
    assert code == 0
    where = sweep.relative_to(tmp_path)
    other = "hydra.sweep.dir=... begins a new one"
    assert f"going on with the sweep in {where}: 1 finished, 1 to resume; {other}\n" in out
    assert status(sweep) == ["finished", "finished"]
    for job in ("0", "1"):
        assert metrics(sweep / job) == metrics(tmp_path / "whole" / job)
    before = contents(tmp_path)
    code, out, err = call("seed=1,2", *LONGER)
    assert (code, out, err) == (0, f"the sweep in {where} is finished, 2 jobs; {other}\n", "")
    assert contents(tmp_path) == before


def test_a_larger_grid_goes_on_in_the_same_folder(call, tmp_path):
    chosen = "hydra.sweep.dir=sweep"
    assert call("seed=1", chosen)[0] == 0
    before = contents(tmp_path / "sweep" / "0")
    code, out, _ = call("seed=2,1", "replay_size_before_train=100,5", chosen)
    assert code == 1
    assert "going on" not in out  # with settings of another value, each is another job
    assert sorted(os.listdir(tmp_path / "sweep")) == ["0", "1", "2", "3", "4", *RECORDS]
    code, out, err = call("seed=2,1", "replay_size_before_train=100,5", chosen)
    assert "2 finished, 2 to begin anew" in out
    assert "error: 2 of 4 jobs failed" in err
    assert code == 1
    code, out, _ = call("seed=2,3,1", chosen)
    assert code == 0  # the failed ones are another grid's
    assert "1 finished, 2 to start" in out
    assert status(tmp_path / "sweep").count("failed") == 2
    assert contents(tmp_path / "sweep" / "0") == before


def test_a_job_that_another_process_runs_is_left_alone(call, tmp_path):
    assert call("seed=1,2", "hydra.sweep.dir=sweep")[0] == 0
    (tmp_path / "sweep" / "1" / "run.json").unlink()
    before = contents(tmp_path / "sweep" / "1")
    with FolderLock(tmp_path / "sweep" / "1"):
        code, out, _ = call("seed=1,2", "hydra.sweep.dir=sweep")
    assert code == 0
    assert "1 finished, 1 run by another process" in out
    assert "job 1: run by another process, left alone\n" in out
    assert contents(tmp_path / "sweep" / "1") == before


def test_a_sweep_that_is_running_is_not_begun_a_second_time(call, tmp_path):
    assert call("seed=1", "hydra.sweep.dir=sweep")[0] == 0
    with FolderLock(tmp_path / "sweep"):
        code, _, err = call("seed=1,2", "hydra.sweep.dir=sweep")
    assert code == 2
    assert "sweep is in use by process" in err
    assert "wait for it to end, or name another hydra.sweep.dir" in err


def test_sweeps_of_different_kinds_do_not_mix(call, tmp_path):
    assert call("seed=1", "hydra.sweep.dir=sweep")[0] == 0
    before = contents(tmp_path)
    code, _, err = call("seed=1", "hydra.sweep.dir=sweep", "hydra/sweeper=basic")
    assert code == 2
    assert "holds a sweep of hydra.sweeper._target_=hydra_plugins.robobase_grid" in err
    assert contents(tmp_path) == before


def test_a_grid_that_cannot_be_composed_leaves_the_sweep_as_it_was(call, tmp_path):
    assert call("seed=1", "hydra.sweep.dir=sweep")[0] == 0
    before = contents(tmp_path)
    code, _, err = call("seed=1,2", "no_such_key=1", "hydra.sweep.dir=sweep")
    assert code == 2
    assert "no_such_key is no setting of this run" in err
    assert contents(tmp_path) == before


def test_folders_can_have_names_of_their_own(call, tmp_path):
    subdir = "hydra.sweep.subdir=seed_${seed}"
    for _ in range(2):
        assert call("seed=1,2", "hydra.sweep.dir=sweep", subdir)[0] == 0
    assert sorted(os.listdir(tmp_path / "sweep")) == [*RECORDS, "seed_1", "seed_2"]


@pytest.mark.slow
def test_a_sweep_of_processes_that_was_stopped_ends_as_an_unbroken_one(tmp_path):
    command = [sys.executable, "-m", "robobase.train", "-m", "--config-dir", str(CONFIG_DIR)]
    command += ["env=tiny", "num_gpus=0", "num_threads=1", "seed=1,2,3", "num_train_frames=2000"]
    command += ["eval_every_steps=500", "hydra.launcher.n_jobs=2"]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    options = {"cwd": tmp_path, "env": environment, "text": True}
    subprocess.run([*command, "hydra.sweep.dir=whole"], check=True, **options)
    process = subprocess.Popen(command, **options)
    deadline = time.monotonic() + 240
    while len(list(tmp_path.glob("runs/exp/*/*/train.csv"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 128 + signal.SIGTERM
    (sweep,) = tmp_path.glob("runs/exp/*")
    assert status(sweep) == ["stopped", "stopped", "not started"]
    done = subprocess.run(command, capture_output=True, check=True, **options)
    assert "2 to resume, 1 to start" in done.stdout
    assert status(sweep) == ["finished"] * 3
    for job in ("0", "1", "2"):
        assert metrics(sweep / job) == metrics(tmp_path / "whole" / job)
