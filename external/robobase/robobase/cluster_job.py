"""A job of a multirun on another machine of a cluster, where the sweep's folder is the same.

Whether it begins or goes on says its folder when it starts there, not the call that submitted it:
clusters start jobs late, and start them again after a time limit or on another machine.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robobase import compute, launcher, run_record, run_snapshot, sweep_jobs
from robobase.command_line import hydra_value
from robobase.run_record import Status

_RESUME = "resume_from="


@dataclass(frozen=True)
class ClusterJob:
    """One run of a multirun.

    Attributes:
        number: GPUs take turns by it.
        root: the sweep's folder, absolute.
        folder: within it.
        overrides: without Hydra's own.
        call: the command line, as far as it is the same for all jobs.
        working_dir: of the call; relative paths in overrides start there.
        cores: that were asked for.
    """

    number: int
    root: Path
    folder: str
    overrides: tuple[str, ...]
    call: tuple[str, ...]
    working_dir: Path
    cores: int

    @property
    def path(self) -> Path:
        """Its folder, absolute."""
        return self.root / self.folder

    def run(self) -> str | None:
        """Until the run has ended; returns the signal that stopped it, after its snapshot."""
        if run_record.read(self.path).status is Status.FINISHED:
            return None
        os.chdir(self.working_dir)
        compute.announce_concurrent_jobs(1)
        compute.announce_cores(self.cores)
        job = launcher.Job(self.number, self.path, self._words())
        reason = launcher.Launch([job], self.call, at_once=1).run()
        with contextlib.suppress(OSError):
            sweep_jobs.write_index(self.root)
        return reason

    def failed(self) -> bool:
        """Whether the run came to an end that is an error."""
        return run_record.read(self.path).status in (Status.FAILED, Status.DIED)

    def _words(self) -> tuple[str, ...]:
        if run_snapshot.latest(self.path) is None:
            sweep_jobs.begin_anew(self.path)
            return self.overrides
        words = [word for word in self.overrides if not word.lstrip("+").startswith(_RESUME)]
        return (*words, f"{_RESUME}{hydra_value(str(self.path))}")


def jobs_of(
    root: Path, jobs: Sequence[launcher.Job], call: Sequence[str], cores: int
) -> list[ClusterJob]:
    """`jobs`, which are below `root`, as they run on a cluster."""
    here = Path.cwd()
    return [
        ClusterJob(
            job.number,
            root.absolute(),
            str(job.folder.absolute().relative_to(root.absolute())),
            job.overrides,
            tuple(call),
            here,
            cores,
        )
        for job in jobs
    ]
