"""Jobs of a multirun in the queue of a Slurm cluster, through submitit.

They belong to Slurm, not to the process that submits them: that one only waits and tells. Which
jobs of a sweep are in the queue is asked of Slurm, where a job's comment is its run folder.
"""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from robobase import cluster_job, compute, launcher, run_record, signals, sweep, sweep_jobs
from robobase.cluster_job import ClusterJob
from robobase.errors import UserError, one_line
from robobase.run_record import Status

FOLDER = ".submitit"
"""In the sweep's folder: what submitit hands to the jobs, and their logs."""

LAUNCHER = "hydra/launcher=submitit_slurm"
_PROGRAMS = ("sbatch", "squeue", "scontrol")
_ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "REVOKED", "TIMEOUT",
}  # fmt: skip
_WARNINGS = ("SIGUSR1", "SIGUSR2")  # before a time limit, or by `scancel --signal`
_LOOK_SECONDS = 30  # between Slurm's looks at time limits: it warns so much too early
_TELL_SECONDS = 30.0
_PATIENCE_SECONDS = 600.0  # with a Slurm that does not answer


@dataclass(frozen=True)
class Entry:
    """A job as Slurm knows it."""

    number: str
    state: str

    @property
    def is_live(self) -> bool:
        """Whether it waits, runs or is about to end."""
        return self.state not in _ENDED


def require(settings: Mapping[str, Any]) -> None:
    """Raises UserError where no job can be submitted, or none could do anything."""
    try:
        import submitit  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(
            f"submitit is not installed; {LAUNCHER} needs the extra slurm: "
            "pip install -c constraints.txt -e '.[slurm]'"
        ) from None
    absent = [name for name in _PROGRAMS if shutil.which(name) is None]
    if absent:
        raise UserError(
            f"{LAUNCHER} needs {', '.join(absent)}, which this machine does not have: call it on "
            "a login node of the cluster"
        )
    minutes, delay = settings["timeout_min"], settings["signal_delay_s"]
    if 60 * minutes <= delay + _LOOK_SECONDS:
        raise UserError(
            f"hydra.launcher.timeout_min={minutes} with signal_delay_s={delay}: a job would be "
            "warned of its time limit as soon as it begins; give more minutes or fewer seconds"
        )


def queue(root: Path) -> dict[Path, Entry]:
    """The jobs of a sweep that Slurm knows of, by their folders; of two the one that lives.

    Those that have ended are known for some minutes more (Slurm's `MinJobAge`).

    Raises:
        UserError: Slurm does not answer.
    """
    words = ["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T|%k"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    except subprocess.CalledProcessError as error:
        raise UserError(f"Slurm does not answer: {one_line(error.stderr)}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"Slurm does not answer: {one_line(error)}") from None
    root = root.absolute()
    found: dict[Path, Entry] = {}
    for line in done.stdout.splitlines():
        number, state, folder = [*line.strip().split("|", 2), "", ""][:3]
        path, entry = Path(folder), Entry(number, state)
        if not path.is_relative_to(root):
            continue
        if path not in found or _order(entry) > _order(found[path]):
            found[path] = entry
    return found


def queued(root: Path) -> frozenset[str]:
    """Folders, within the sweep's, of the jobs that wait or run."""
    live = [path for path, entry in queue(root).items() if entry.is_live]
    return frozenset(str(path.relative_to(root.absolute())) for path in live)


def _order(entry: Entry) -> tuple[bool, int]:
    return entry.is_live, int(entry.number) if entry.number.isdecimal() else 0


class SlurmJob:
    """What submitit runs on a node: the run in a process of its own, and again after a warning."""

    def __init__(self, job: ClusterJob):
        self._job = job

    def __call__(self) -> None:
        """Ends the process with the run's fate as its exit code; Slurm shows it as the state."""
        from submitit.slurm.slurm import SlurmJobEnvironment

        reason = self._job.run()
        if reason in _WARNINGS:
            # submitit's handler: asks `checkpoint`, counts the time limits, and requeues
            signal.raise_signal(getattr(signal, f"SIG{SlurmJobEnvironment.USR_SIG}"))
        if reason is not None:
            sys.exit(signals.exit_code_of(signal.Signals[reason]))
        if self._job.failed():
            sys.exit(1)

    def checkpoint(self) -> Any:
        """What is to run once more."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def launch(
    config: DictConfig,
    job_configs: Sequence[DictConfig],
    overrides: Sequence[Sequence[str]],
    settings: Mapping[str, Any],
) -> None:
    """Submit what is not in the queue yet, and wait until none of the sweep's jobs is.

    A signal ends the waiting, not the jobs.

    Args:
        config: the multirun's, with its node `hydra`.
        job_configs, overrides: of each job.
        settings: of `SlurmLauncherConf`.

    Raises:
        UserError: Slurm refuses a job; those before it are submitted.
    """
    root = Path(config.hydra.sweep.dir)
    root.mkdir(parents=True, exist_ok=True)
    compute.announce_concurrent_jobs(1)  # a job has a machine's share to itself
    jobs = launcher.jobs_of(config, job_configs, overrides)
    call = launcher.call_of(config)
    there = {path: entry for path, entry in queue(root).items() if entry.is_live}
    for path, entry in there.items():
        where = f"in Slurm's queue already ({entry.state.lower()}), left there"
        print(f"job {path.name}: {where}, Slurm job {entry.number}", flush=True)
    waiting = dict(there)
    for job in cluster_job.jobs_of(root, jobs, call, settings["cpus_per_task"]):
        if job.path in there:
            continue
        run_record.clear_failure(job.path)
        number = _submit(job, settings)
        waiting[job.path] = Entry(number, "PENDING")
        print(
            f"job {job.folder}: {' '.join(job.overrides)} -> {root / job.folder}, "
            f"Slurm job {number}",
            flush=True,
        )
    _wait(root, waiting, settings["poll_seconds"])


def _submit(job: ClusterJob, settings: Mapping[str, Any]) -> str:
    import submitit

    own = {"poll_seconds", "n_jobs", "max_num_timeout"}
    # submitit's words for what all its clusters have; the rest is Slurm's.
    common = {
        "timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node", "name", "stderr_to_stdout",
    }  # fmt: skip
    parameters = {
        key if key in common else f"slurm_{key}": value
        for key, value in settings.items()
        if key not in own and value is not None
    }
    try:
        executor = submitit.AutoExecutor(
            folder=job.root / FOLDER / "%j",
            cluster="slurm",
            slurm_max_num_timeout=settings["max_num_timeout"],
        )
        executor.update_parameters(**parameters, slurm_comment=str(job.path))
        return str(executor.submit(SlurmJob(job)).job_id)
    except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError) as error:
        raise UserError(f"Slurm refuses job {job.folder}: {one_line(error)}") from None


def _wait(root: Path, waiting: Mapping[Path, Entry], poll_seconds: float) -> None:
    """Until no job of the sweep is in the queue; tell of each that has left it."""
    left, told = dict(waiting), time.monotonic()
    ended: set[Path] = set()
    with signals.StopRequest(saving="nothing is to be saved") as stop:
        heard = time.monotonic()
        while left and not stop:
            _sleep(poll_seconds, stop)
            try:
                known = queue(root)
                heard = time.monotonic()
            except UserError:  # a restart of Slurm is no reason to leave
                if time.monotonic() > heard + _PATIENCE_SECONDS:
                    raise
                continue
            before, ended = ended, {path for path in left if not _lives(known.get(path))}
            for path in ended & before:  # at one look it may be on its way back into the queue
                _tell(root, path, known.get(path) or Entry(left[path].number, ""))
                del left[path]
            if time.monotonic() > told + _TELL_SECONDS:
                told = time.monotonic()
                _write_index(root)
    _write_index(root)
    if not stop.reason:
        return
    numbers = " ".join(entry.number for entry in left.values())
    print(
        f"stopped by {stop.reason}: {len(left)} jobs stay with Slurm and go on; the same command "
        f"again waits for them, `scancel {numbers}` ends them with a snapshot each; {root}",
        file=sys.stderr,
    )
    sys.exit(signals.exit_code_of(signal.Signals[stop.reason]))


def _lives(entry: Entry | None) -> bool:
    return entry is not None and entry.is_live


def _tell(root: Path, path: Path, entry: Entry) -> None:
    """Say what became of the job in `path`; leave a reason where it had no time to."""
    record = run_record.read(path)
    ended = f"Slurm job {entry.number}" + (f", {entry.state}" if entry.state else "")
    if record.status in (Status.FINISHED, Status.STOPPED):
        again = "" if record.status is Status.FINISHED else "; the same command again resumes it"
        print(f"job {path.name}: {record.status} ({ended}) -> {path}{again}", flush=True)
        return
    if record.status is Status.UNKNOWN and entry.state == "CANCELLED":
        print(f"job {path.name}: cancelled before it began ({ended})", flush=True)
        return
    reason = record.reason if record.status is Status.FAILED else None
    if reason is None:
        log = root / FOLDER / entry.number
        reason = f"ended without a word ({ended}), its log is in {log}"
        sweep.record_failure(path, reason)
    print(f"job {path.name}: failed, {reason} -> {path}", file=sys.stderr, flush=True)


def _sleep(seconds: float, stop: signals.StopRequest) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stop:
        time.sleep(min(0.2, seconds))


def _write_index(root: Path) -> None:
    with contextlib.suppress(OSError):
        sweep_jobs.write_index(root)
