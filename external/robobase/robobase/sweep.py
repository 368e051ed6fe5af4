"""Multiruns: tell each job how many run beside it, and name the failed ones at the end."""

import sys
import traceback
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

FAILURE = "error.txt"


def record_failure(work_dir: Path, error: BaseException) -> None:
    """Leave the message (first line) and the traceback of a failed job in its run folder."""
    message = " ".join(str(error).split()) or type(error).__name__
    trace = "".join(traceback.format_exception(error))
    work_dir.mkdir(parents=True, exist_ok=True)
    (work_dir / FAILURE).write_text(f"{message}\n\n{trace}")


def forget_failure(work_dir: Path) -> None:
    """Remove what an earlier sweep into the same folder left there."""
    (work_dir / FAILURE).unlink(missing_ok=True)


class SweepReport(Callback):
    """Hydra callback of the process that starts a multirun."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        from robobase import compute  # torch, which takes seconds

        cores = compute.available_cores()
        workers = int(OmegaConf.select(config, "hydra.launcher.n_jobs", default=1))
        if workers < 0:  # joblib counts from the end: -1 is all cores, -2 all but one
            workers = max(1, cores + 1 + workers)
        jobs = max(1, min(workers, _count_jobs(config)))
        compute.announce_concurrent_jobs(jobs)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        failures = sorted(Path(config.hydra.sweep.dir).glob(f"**/{FAILURE}"))
        if not failures:
            return
        print(f"error: {len(failures)} of {_count_jobs(config)} jobs failed", file=sys.stderr)
        for file in failures:
            print(f"  {file.parent}: {file.read_text().splitlines()[0]}", file=sys.stderr)
        sys.exit(1)


def _count_jobs(config: DictConfig) -> int:
    overrides = OmegaConf.to_container(config.hydra.overrides.task)
    parsed = OverridesParser.create().parse_overrides(overrides)  # type: ignore[arg-type]
    return len(BasicSweeper.split_arguments(parsed, None)[0])
