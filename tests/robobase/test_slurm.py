"""Sweeps through a real Slurm of one node, and what is told where there is none."""

import signal
import subprocess

import cluster_sweeps
import pytest
import slurm_cluster
from cluster_sweeps import Sweeps, metrics, status, steps, wait

LAUNCHER = [
    "hydra/launcher=submitit_slurm",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem_gb=1",
    "hydra.launcher.poll_seconds=1",
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    pytest.importorskip("submitit", reason="submitit is not installed; the extra slurm brings it")
    if (reason := slurm_cluster.missing()) is not None:
        pytest.skip(reason)
    with slurm_cluster.slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def sweeps(slurm, tmp_path):
    calls = Sweeps(tmp_path, slurm, LAUNCHER)
    yield calls
    calls.close()


def queue(sweeps) -> list[str]:
    """Numbers of the jobs that wait or run."""
    return slurm_says(sweeps, "squeue", "-h", "-r", "-o", "%i").split()


def slurm_says(sweeps, *words: str) -> str:
    return subprocess.run(
        words, env=sweeps.environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.slow
def test_a_job_that_was_cancelled_is_resumed_by_the_second_call_and_ends_as_an_unbroken_one(
    sweeps, tmp_path
):
    words = ["seed=1,2,3,4", "num_train_frames=4000"]
    sweeps.unbroken(*words, "hydra.sweep.dir=whole")
    words.append("hydra.sweep.dir=sweep")
    folder = tmp_path / "sweep"
    call = sweeps.start(*words)
    wait(lambda: steps(folder / "1") > 500)
    assert len(queue(sweeps)) == 4
    slurm_says(sweeps, "scancel", queue_number(sweeps, folder / "1"))
    code, out = cluster_sweeps.end(call)
    assert code == 0
    assert "job 1: stopped (Slurm job " in out
    assert "CANCELLED" in out
    assert status(folder) == ["finished", "stopped", "finished", "finished"]
    assert steps(folder / "1") < 4000
    code, out = sweeps.run(*words)
    assert code == 0
    assert "3 finished, 1 to resume" in out
    assert status(folder) == ["finished"] * 4
    for name in ("0", "1", "2", "3"):
        assert metrics(folder / name) == metrics(tmp_path / "whole" / name)
    code, out = sweeps.run(*words)
    assert (code, "is finished, 4 jobs" in out, queue(sweeps)) == (0, True, [])


@pytest.mark.slow
def test_jobs_outlive_the_call_and_are_not_submitted_twice_and_a_failed_one_is_named(
    sweeps, tmp_path
):
    words = ["replay_size_before_train=100,5", "seed=1,2", "num_train_frames=6000"]
    words.append("hydra.sweep.dir=sweep")
    folder = tmp_path / "sweep"
    slurm_says(sweeps, "scontrol", "update", "partitionname=main", "state=down")
    try:
        call = sweeps.start(*words)
        wait(lambda: len(queue(sweeps)) == 4)
        call.send_signal(signal.SIGINT)
        code, out = cluster_sweeps.end(call)
        assert code == 128 + signal.SIGINT
        assert "stopped by SIGINT: 4 jobs stay with Slurm and go on" in out
        before = queue(sweeps)
        call = sweeps.start(*words)
        wait(lambda: (folder / "multirun.yaml").stat().st_mtime_ns)
    finally:
        slurm_says(sweeps, "scontrol", "update", "partitionname=main", "state=up")
    code, out = cluster_sweeps.end(call)
    assert "4 with the cluster" in out
    for number in before:
        assert f"in Slurm's queue already (pending), left there, Slurm job {number}" in out
    assert code == 1
    assert "error: 2 of 4 jobs failed" in out
    assert status(folder) == ["finished", "finished", "failed", "failed"]
    assert len(list((folder / ".submitit").iterdir())) >= 4
    known = slurm_says(sweeps, "squeue", "-h", "-r", "--states=all", "-o", "%i|%k")
    assert sum(str(folder) in line for line in known.splitlines()) == 4


@pytest.mark.slow
def test_before_its_time_limit_a_job_saves_and_is_put_back_into_the_queue(sweeps, tmp_path):
    words = ["seed=1,2", "num_train_frames=24000"]
    sweeps.unbroken(*words, "hydra.sweep.dir=whole")
    words += ["hydra.sweep.dir=sweep", "hydra.launcher.timeout_min=1"]
    words += ["hydra.launcher.signal_delay_s=8"]  # warned 22 to 52 s after the start
    call = sweeps.start(*words)
    hasten(sweeps, call)
    assert cluster_sweeps.end(call)[0] == 0
    for name in ("0", "1"):
        assert metrics(tmp_path / "sweep" / name) == metrics(tmp_path / "whole" / name)
    for log in logs(tmp_path / "sweep"):
        assert "stopped by SIGUSR2" in log
        assert "this job is timed-out" in log
        assert "Requeued job" in log
        assert "Traceback" not in log


@pytest.mark.slow
@pytest.mark.parametrize("name", ["USR1", "USR2"])
def test_a_warning_puts_a_job_back_into_the_queue(sweeps, tmp_path, name):
    words = ["seed=1", "num_train_frames=4000", "hydra.sweep.dir=sweep"]
    folder = tmp_path / "sweep"
    call = sweeps.start(*words)
    wait(lambda: steps(folder / "0") > 500)
    slurm_says(sweeps, "scancel", f"--signal={name}", queue_number(sweeps, folder / "0"))
    hasten(sweeps, call)
    code, out = cluster_sweeps.end(call)
    assert code == 0
    assert "job 0: finished" in out
    assert status(folder) == ["finished"]
    (log,) = logs(folder)
    assert f"stopped by SIG{name}" in log
    assert "Traceback" not in log


def hasten(sweeps, call) -> None:
    """Until the call ends; Slurm lets a job that was put back wait for two minutes otherwise."""

    def is_over() -> bool:
        lines = slurm_says(sweeps, "squeue", "-h", "-r", "-t", "PENDING", "-o", "%i|%r")
        for line in lines.splitlines():
            number, _, reason = line.partition("|")
            if reason == "BeginTime":
                slurm_says(sweeps, "scontrol", "update", f"JobId={number}", "StartTime=now")
        return call.poll() is not None

    wait(is_over)


def logs(folder) -> list[str]:
    return [file.read_text() for file in (folder / ".submitit").glob("*/*_log.out")]


def queue_number(sweeps, folder) -> str:
    """Of the job whose run folder is `folder`."""
    lines = slurm_says(sweeps, "squeue", "-h", "-r", "-o", "%i|%k").splitlines()
    (number,) = [line.partition("|")[0] for line in lines if line.endswith(f"|{folder}")]
    return number
