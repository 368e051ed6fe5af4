"""Sweeps through a real Ray cluster of two nodes, both on this machine."""

import os
import signal
from pathlib import Path

import cluster_sweeps
import pytest
from cluster_sweeps import Sweeps, metrics, status, steps, wait

LAUNCHER = ["hydra/launcher=ray", "hydra.launcher.num_cpus=1"]


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    """The environment in which the cluster is known."""
    pytest.importorskip("ray", reason="ray is not installed; the extra ray brings it")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    own = {
        "HOME": str(tmp_path_factory.mktemp("home")),  # of Ray's token
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": path,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        cluster.add_node(num_cpus=1)
        try:
            yield {**os.environ, "RAY_ADDRESS": cluster.address}
        finally:
            cluster.shutdown()


@pytest.fixture
def sweeps(ray, tmp_path):
    calls = Sweeps(tmp_path, ray, LAUNCHER)
    yield calls
    calls.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_a_sweep_that_was_stopped_is_resumed_by_the_second_call_and_ends_as_an_unbroken_one(
    sweeps, tmp_path, name
):
    words = ["seed=1,2,3,4", "num_train_frames=2000"]
    sweeps.unbroken(*words, "hydra.sweep.dir=whole")
    words.append("hydra.sweep.dir=sweep")
    folder = tmp_path / "sweep"
    call = sweeps.start(*words)
    wait(lambda: steps(folder / "0") > 300 and steps(folder / "1") > 300)
    call.send_signal(getattr(signal, name))
    code, out = cluster_sweeps.end(call)
    assert code == 128 + getattr(signal, name)
    assert f"stopped by {name}" in out
    assert status(folder) == ["stopped", "stopped", "not started", "not started"]
    code, out = sweeps.run(*words)
    assert code == 0
    assert "2 to resume, 2 to start" in out
    assert status(folder) == ["finished"] * 4
    for job in ("0", "1", "2", "3"):
        assert metrics(folder / job) == metrics(tmp_path / "whole" / job)


@pytest.mark.slow
def test_jobs_of_a_call_that_was_killed_save_and_end(sweeps, tmp_path):
    words = ["seed=1,2", "num_train_frames=40000", "hydra.sweep.dir=sweep"]
    folder = tmp_path / "sweep"
    call = sweeps.start(*words)
    wait(lambda: steps(folder / "0") > 300 and steps(folder / "1") > 300)
    call.send_signal(signal.SIGKILL)
    call.wait()

    def states() -> list[str]:
        from robobase import run_record

        return [run_record.read(folder / job).status for job in ("0", "1")]

    wait(lambda: states() == ["stopped", "stopped"])


@pytest.mark.slow
def test_a_job_that_fails_is_named_and_stops_no_other(sweeps, tmp_path):
    words = ["replay_size_before_train=100,5", "seed=1", "num_train_frames=1000"]
    code, out = sweeps.run(*words, "hydra.sweep.dir=sweep")
    assert code == 1
    assert "error: 1 of 2 jobs failed" in out
    assert status(tmp_path / "sweep") == ["finished", "failed"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "says"),
    [("num_cpus=64", "more than any machine of the cluster has: 1 CPUs, 0 GPUs")],
)
def test_what_the_cluster_cannot_give_is_one_line(sweeps, setting, says):
    code, out = sweeps.run("seed=1,2", f"hydra.launcher.{setting}", "hydra.sweep.dir=sweep")
    assert code == 2
    assert says in out
    assert "Traceback" not in out
