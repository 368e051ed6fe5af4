"""Launchers of clusters where there is no cluster: settings, messages, what a job does there."""

import os
import stat
import sys
from pathlib import Path

import pytest
from tiny_task import CONFIG_DIR

from robobase import launcher, ray_cluster, run_record, slurm, sweep_jobs, train
from robobase.cluster_job import ClusterJob, jobs_of
from robobase.errors import UserError
from robobase.run_record import RunRecord, Status


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """Calls a multirun that ends with exit code 2 and leaves nothing; returns what it says."""

    def run(*words: str) -> str:
        monkeypatch.chdir(tmp_path)
        options = ["-m", "--config-dir", str(CONFIG_DIR), "env=tiny", "seed=1,2"]
        monkeypatch.setattr(sys, "argv", ["train", *options, *words])
        with pytest.raises(SystemExit) as stop:
            train.main()
        assert stop.value.code == 2
        assert not (tmp_path / "runs").exists()
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return run


@pytest.fixture
def squeue(monkeypatch, tmp_path):
    """Puts a program `squeue` first that prints what it is given here."""

    def answers(text: str, code: int = 0) -> None:
        file = tmp_path / "bin" / "squeue"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\necho oh no >&2\nexit {code}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{file.parent}{os.pathsep}{os.environ['PATH']}")

    return answers


def cluster_job(root: Path, *overrides: str) -> ClusterJob:
    """Leaves its words in its folder."""
    script = "import pathlib, sys; pathlib.Path('words').write_text(' '.join(sys.argv[1:]))"
    (job,) = jobs_of(
        root, [launcher.Job(3, root / "3", overrides)], [sys.executable, "-c", script], 1
    )
    return job


@pytest.mark.parametrize(
    ("name", "module", "extra"), [("submitit_slurm", "submitit", "slurm"), ("ray", "ray", "ray")]
)
def test_a_missing_extra_is_one_line_that_names_it(refused, monkeypatch, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    err = refused(f"hydra/launcher={name}")
    assert err.startswith(f"error: {module} is not installed; hydra/launcher={name} needs the ex")
    assert f".[{extra}]" in err
    assert err.count("\n") == 1


def test_a_machine_without_slurm_is_one_line(refused, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "submitit", sys)
    monkeypatch.setenv("PATH", str(tmp_path))
    err = refused("hydra/launcher=submitit_slurm")
    assert "needs sbatch, squeue, scontrol, which this machine does not have" in err


def test_a_time_limit_that_leaves_no_time_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", sys)
    monkeypatch.setattr(slurm, "_PROGRAMS", ())
    slurm.require({"timeout_min": 3, "signal_delay_s": 120})
    with pytest.raises(UserError, match="timeout_min=2 with signal_delay_s=120: a job would be wa"):
        slurm.require({"timeout_min": 2, "signal_delay_s": 120})


@pytest.mark.parametrize(
    "words",
    [
        ("submitit_slurm", "timeout_min=soon"),
        ("submitit_slurm", "mem_gb=8G"),
        ("ray", "num_cpus=many"),
        ("ray", "timeout_min=4"),
    ],
)
def test_settings_that_do_not_fit_are_refused(refused, words):
    name, setting = words
    err = refused(f"hydra/launcher={name}", f"hydra.launcher.{setting}")
    assert setting.partition("=")[0] in err


def test_the_queue_tells_the_jobs_of_a_sweep_by_their_folders(squeue, tmp_path):
    root = tmp_path / "a|b"
    lines = [f"7|FAILED|{root}/0", f"9|PENDING|{root}/0", f"8|CANCELLED|{root}/0"]
    lines += [f"10|COMPLETING|{root}/1", f"2|TIMEOUT|{root}/2", f"11|TIMEOUT|{root}/2"]
    lines += [f"12|RUNNING|{tmp_path}/other/0", "13|RUNNING|(null)", "14|RUNNING|"]
    squeue("\n".join(lines))
    found = slurm.queue(root)
    assert {path.name: entry.number for path, entry in found.items()} == {
        "0": "9",
        "1": "10",
        "2": "11",
    }
    assert slurm.queued(root) == {"0", "1"}


def test_a_slurm_that_does_not_answer_is_one_line(squeue, tmp_path):
    squeue("", code=1)
    with pytest.raises(UserError, match="Slurm does not answer: oh no"):
        slurm.queue(tmp_path)


def test_a_job_that_waits_on_a_cluster_is_not_planned_again(tmp_path):
    jobs = [sweep_jobs.Job(str(number), (f"seed={number}",)) for number in range(3)]
    sweep_jobs.write_index(tmp_path, jobs)
    plan = sweep_jobs.plan(tmp_path, [job.overrides for job in jobs], queued={"1"})
    assert [job.folder for job in plan.queued] == ["1"]
    assert [job.folder for job in plan.waiting] == ["0", "2"]
    assert str(plan) == "1 with the cluster, 2 to start"
    assert not plan.is_finished


def test_what_a_job_does_on_its_machine_says_its_folder(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROBOBASE_CORES", "")
    monkeypatch.setenv("ROBOBASE_CONCURRENT_JOBS", "")
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    job = cluster_job(sweep, "seed=1", "resume_from=other.pt")
    folder, words = sweep / "3", tmp_path / "words"
    folder.mkdir()
    (folder / "train.csv").touch()  # of an attempt that came to no snapshot
    assert job.run() is None
    assert words.read_text().endswith("seed=1 resume_from=other.pt")
    assert f"hydra.run.dir={folder}" in words.read_text()
    assert not folder.exists()
    (folder / "snapshots").mkdir(parents=True)
    (folder / "snapshots" / "latest_snapshot.pt").touch()
    assert job.run() is None
    assert words.read_text().endswith(f"seed=1 resume_from={folder}")
    words.unlink()
    run_record.write(folder, RunRecord(Status.FINISHED))
    assert job.run() is None
    assert not words.exists()


def test_a_job_takes_the_cores_it_asked_for(monkeypatch):
    from robobase import compute

    monkeypatch.setenv("ROBOBASE_CORES", "1")
    assert compute.available_cores() == 1
    monkeypatch.delenv("ROBOBASE_CORES")
    assert compute.available_cores() == len(os.sched_getaffinity(0))


def test_a_stop_reaches_the_tasks_of_ray_by_a_flag():
    flag = ray_cluster.StopFlag()
    assert flag.get() is None
    flag.set("SIGHUP")
    assert flag.get() == "SIGHUP"
