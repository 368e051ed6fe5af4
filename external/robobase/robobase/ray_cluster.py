"""Jobs of a multirun as tasks of a Ray cluster.

They belong to the process that starts them: its signals reach all of them, and without it they
save and end. A task whose machine is lost is started again by Ray and goes on from its snapshot.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from robobase import cluster_job, launcher, run_record, signals, sweep, sweep_jobs
from robobase.cluster_job import ClusterJob
from robobase.errors import UserError, one_line

LAUNCHER = "hydra/launcher=ray"
_POLL_SECONDS = 0.5
_TELL_SECONDS = 30.0


def require() -> None:
    """Raises UserError where Ray is not installed."""
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(
            f"ray is not installed; {LAUNCHER} needs the extra ray: "
            "pip install -c constraints.txt -e '.[ray]'"
        ) from None


class StopFlag:
    """An actor: what the tasks ask whether to go on, since no signal reaches another machine."""

    def __init__(self) -> None:
        self._reason: str | None = None

    def set(self, reason: str) -> None:
        """Ask all tasks to stop for that signal."""
        self._reason = reason

    def get(self) -> str | None:
        """The signal, or None to go on."""
        return self._reason


def run(job: ClusterJob, flag: Any) -> str | None:
    """What Ray runs on a machine: the run in a process of its own, until the flag is set or lost.

    Returns the signal that stopped it, after its snapshot.
    """
    if (reason := flag.get.remote().future().result()) is not None:  # while it waited for its turn
        return reason
    ended = threading.Event()
    watch = threading.Thread(target=_obey, args=(flag, ended), daemon=True)
    watch.start()
    try:
        return job.run()
    finally:
        ended.set()
        watch.join()


def _obey(flag: Any, ended: threading.Event) -> None:
    """Signal this process once the flag is set, or the process that started the sweep is gone."""
    import ray

    while not ended.wait(_POLL_SECONDS):
        try:  # `ray.get` would lend this task's cores to another one while it waits
            reason = flag.get.remote().future().result()
        except ray.exceptions.RayError:
            reason = "gone"
        if reason is not None and not ended.is_set():
            os.kill(os.getpid(), signal.SIGTERM)  # Ray's workers ignore SIGINT
            return


def launch(
    config: DictConfig,
    job_configs: Sequence[DictConfig],
    overrides: Sequence[Sequence[str]],
    settings: Mapping[str, Any],
) -> None:
    """Run the jobs; on a signal they save, it is said, and this process exits.

    Args:
        config: the multirun's, with its node `hydra`.
        job_configs, overrides: of each job.
        settings: of `RayLauncherConf`.

    Raises:
        UserError: there is no such cluster, or none of its machines could ever run a job.
    """
    root = Path(config.hydra.sweep.dir)
    root.mkdir(parents=True, exist_ok=True)
    jobs = cluster_job.jobs_of(
        root,
        launcher.jobs_of(config, job_configs, overrides),
        launcher.call_of(config),
        settings["num_cpus"],
    )
    with signals.StopRequest(saving="the jobs are still saving") as stop, _ray(settings):
        _check_resources(settings)
        _run(root, jobs, settings, stop)
    if not stop.reason:
        return
    print(
        f"stopped by {stop.reason}: the jobs that ran have saved where save_snapshot=true; the "
        f"same command again goes on; {root}",
        file=sys.stderr,
    )
    sweep.report(config)
    sys.exit(signals.exit_code_of(signal.Signals[stop.reason]))


@contextlib.contextmanager
def _ray(settings: Mapping[str, Any]) -> Iterator[None]:
    """Inside, this process is connected to the cluster; without an address one is made here."""
    import ray

    try:
        ray.init(address=settings["address"], log_to_driver=True, logging_level="warning")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"no Ray cluster at hydra.launcher.address={settings['address']} "
            f"({one_line(error)}); start one with `ray start --head`, or give null for this machine"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_resources(settings: Mapping[str, Any]) -> None:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": settings["num_cpus"], "GPU": settings["num_gpus"]}
    if not any(all(node.get(k, 0) >= v for k, v in wanted.items()) for node in nodes):
        most = {name: max(int(node.get(name, 0)) for node in nodes) for name in wanted}
        raise UserError(
            f"hydra.launcher.num_cpus={settings['num_cpus']} and num_gpus={settings['num_gpus']} "
            f"are more than any machine of the cluster has: {most['CPU']} CPUs, {most['GPU']} GPUs"
        )


def _run(
    root: Path, jobs: Sequence[ClusterJob], settings: Mapping[str, Any], stop: signals.StopRequest
) -> None:
    import ray

    # Ray would kill the training with the worker; it ends by itself, after a snapshot.
    keep = {"env_vars": {"RAY_kill_child_processes_on_worker_exit": "false"}}
    task = ray.remote(run).options(
        num_cpus=settings["num_cpus"],
        num_gpus=settings["num_gpus"],
        max_retries=settings["max_retries"],
        runtime_env=keep,
    )
    flag = ray.remote(StopFlag).options(num_cpus=0).remote()
    left = {}
    for job in jobs:
        run_record.clear_failure(job.path)
        print(f"job {job.folder}: {' '.join(job.overrides)} -> {root / job.folder}", flush=True)
        left[task.remote(job, flag)] = job
    told, asked = time.monotonic(), False
    while left:
        if stop and not asked:
            asked = True
            flag.set.remote(stop.reason)
        ended, _ = ray.wait(list(left), num_returns=1, timeout=_POLL_SECONDS)
        for ref in ended:
            _tell(left.pop(ref), ref)
        if ended or time.monotonic() > told + _TELL_SECONDS:
            told = time.monotonic()
            with contextlib.suppress(OSError):
                sweep_jobs.write_index(root)


def _tell(job: ClusterJob, ref: Any) -> None:
    """Say what became of a job; leave a reason where it had no time to."""
    import ray

    record = run_record.read(job.path)
    reason = record.reason if job.failed() else None
    try:
        ray.get(ref)
    except ray.exceptions.RayError as error:
        reason = one_line(error)
    if reason is None:
        status = record.status if job.path.is_dir() else "not started"
        print(f"job {job.folder}: {status} -> {job.path}", flush=True)
        return
    if record.reason is None or not job.failed():
        sweep.record_failure(job.path, reason)
    print(f"job {job.folder}: failed, {reason} -> {job.path}", file=sys.stderr, flush=True)
