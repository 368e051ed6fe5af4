"""Jobs of a multirun, each in a process of its own, some at a time.

A job is an ordinary run with a folder of its own, `<sweep>/<number>`. Signals go to the process
that started the multirun, which passes them on and waits: every job saves. A job that dies takes
no other one along; jobs whose parent died, in whatever way, save and end too.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from robobase import command_line, run_record, signals, sweep, sweep_jobs

_POLL_SECONDS = 0.2
_TELL_SECONDS = 30.0
_END_SECONDS = 10.0  # that a job which is ended at once may take for it


@dataclass
class Job:
    """One run of a multirun.

    Attributes:
        number: among those that are launched together; GPUs take turns by it.
        overrides: without Hydra's own.
    """

    number: int
    folder: Path
    overrides: tuple[str, ...]
    process: subprocess.Popen | None = None

    def command(self, call: Sequence[str]) -> list[str]:
        """The run's own command line: `call` and what differs from job to job."""
        own = [
            "hydra.mode=RUN",
            f"hydra.run.dir={command_line.hydra_value(str(self.folder))}",
            f"hydra.job.num={self.number}",
            f"hydra.job.id={self.number}",
        ]
        return [*call, *own, *self.overrides]

    @property
    def name(self) -> str:
        """As people know it: its folder's."""
        return self.folder.name

    def send(self, number: int) -> None:
        """Send the process one."""
        assert self.process is not None
        self.process.send_signal(number)

    @property
    def exit_code(self) -> int | None:
        """None while the process runs."""
        return None if self.process is None else self.process.poll()

    @property
    def failure(self) -> str | None:
        """Why the process, which has ended, did not come to its own end."""
        code = self.exit_code
        if code is None or code == 0:
            return None
        if code == -signal.SIGKILL:
            return "killed by SIGKILL, for want of memory perhaps"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        if code - 128 in signals.STOPPING:
            return f"{signal.Signals(code - 128).name} before the training began"
        return f"exit code {code}"


class Launch:
    """Runs jobs.

    Args:
        jobs: in the order in which they start.
        call: the command line, as far as it is the same for all of them.
        at_once: how many run beside each other.
        tell: called whenever one has ended, and twice a minute.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        call: Sequence[str],
        at_once: int,
        tell: Callable[[], object] = lambda: None,
    ):
        self._waiting = list(jobs)
        self._call = call
        self._at_once = at_once
        self._tell, self._told = tell, time.monotonic()
        self._live: list[Job] = []
        # Its other end is read by every job: it ends when this process does.
        self._read_end, self._write_end = os.pipe()

    def run(self) -> str | None:
        """Until all jobs have ended; returns the signal that stopped them, if one did."""
        passed_on = 0
        with signals.StopRequest(saving="the jobs are still saving") as stop:
            try:
                while self._live or (self._waiting and not stop):
                    while self._waiting and len(self._live) < self._at_once and not stop:
                        self._start(self._waiting.pop(0))
                    if stop.signals > passed_on:
                        passed_on = stop.signals
                        self._signal(stop.reason)
                    time.sleep(_POLL_SECONDS)
                    ended = self._reap(stopped=bool(stop))
                    if ended or time.monotonic() > self._told + _TELL_SECONDS:
                        self._tell()
                        self._told = time.monotonic()
            finally:
                self._end()
                os.close(self._read_end)
                os.close(self._write_end)
        return stop.reason

    def _start(self, job: Job) -> None:
        print(f"job {job.name}: {' '.join(job.overrides)} -> {job.folder}", flush=True)
        run_record.clear_failure(job.folder)
        try:
            job.process = subprocess.Popen(
                job.command(self._call),
                stdin=subprocess.DEVNULL,
                # A session of its own: Ctrl-C reaches it once, through this process, not twice.
                start_new_session=True,
                pass_fds=[self._read_end],
                env={**os.environ, signals.PARENT: str(self._read_end)},
            )
        except OSError as error:
            self._failed(job, f"could not be started: {error.strerror}")
        else:
            self._live.append(job)

    def _signal(self, reason: str | None) -> None:
        # A closed terminal has to be known to the jobs, which write to it.
        for job in self._live:
            job.send(signal.SIGHUP if reason == "SIGHUP" else signal.SIGTERM)

    def _reap(self, stopped: bool) -> bool:
        """Take leave of the jobs that have ended; returns whether there were any."""
        ended = [job for job in self._live if job.exit_code is not None]
        for job in ended:
            self._live.remove(job)
            if job.failure is None:
                print(f"job {job.name}: ended -> {job.folder}", flush=True)
            elif stopped and job.exit_code in [
                signals.exit_code_of(number) for number in signals.STOPPING
            ]:
                print(f"job {job.name}: {job.failure}", flush=True)
            else:
                self._failed(job, job.failure)
        return bool(ended)

    def _failed(self, job: Job, reason: str) -> None:
        if not (job.folder / sweep.FAILURE).exists():  # the job itself has said more
            sweep.record_failure(job.folder, reason)
        print(f"job {job.name}: failed, {reason} -> {job.folder}", file=sys.stderr, flush=True)

    def _end(self) -> None:
        """End what is left when this process itself is ended at once."""
        self._signal(None)
        for job in self._live:
            assert job.process is not None
            try:
                job.process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                job.process.kill()
                job.process.wait()


def launch(
    config: DictConfig, job_configs: Sequence[DictConfig], overrides: Sequence[Sequence[str]]
) -> None:
    """Run the jobs of a multirun; on a signal they save, it is said, and this process exits.

    Args:
        config: the multirun's, with its node `hydra`.
        job_configs, overrides: of each job.
    """
    root = Path(config.hydra.sweep.dir)
    root.mkdir(parents=True, exist_ok=True)
    jobs, call = jobs_of(config, job_configs, overrides), call_of(config)
    n_jobs = int(OmegaConf.select(config, "hydra.launcher.n_jobs", default=-1))
    sweep.announce(config, len(jobs))
    at_once = sweep.jobs_at_once(n_jobs, len(jobs))

    def write_index() -> None:
        with contextlib.suppress(OSError):  # a full disk is the jobs' matter: they save
            sweep_jobs.write_index(root)

    reason = Launch(jobs, call, at_once, write_index).run()
    if reason is None:
        return
    saved = sum(job.exit_code == 0 for job in jobs)
    print(
        f"stopped by {reason}: of {len(jobs)} jobs {saved} ended, each with a snapshot where "
        f"save_snapshot=true; {sum(job.process is None for job in jobs)} were not started; {root}",
        file=sys.stderr,
    )
    sweep.report(config)
    sys.exit(signals.exit_code_of(signal.Signals[reason]))


def jobs_of(
    config: DictConfig, job_configs: Sequence[DictConfig], overrides: Sequence[Sequence[str]]
) -> list[Job]:
    """The jobs of the multirun of `config`; the arguments are those of `launch`."""
    root = Path(config.hydra.sweep.dir)
    return [
        Job(int(cfg.hydra.job.num), root / str(cfg.hydra.sweep.subdir), _of_task(words))
        for cfg, words in zip(job_configs, overrides, strict=True)
    ]


def call_of(config: DictConfig) -> list[str]:
    """The command line, as far as it is the same for all jobs of the multirun of `config`."""
    options = command_line.options(config.hydra)
    options = [word for word in options if not word.lstrip("+").startswith("hydra.run.")]
    return [sys.executable, *command_line.program(config.hydra), *options]


def _of_task(words: Sequence[str]) -> tuple[str, ...]:
    """Overrides less those that tell Hydra the folder."""
    return tuple(word for word in words if not word.lstrip("+").startswith("hydra."))
