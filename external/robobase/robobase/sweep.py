"""Multiruns: tell each job how many run beside it, and name the failed ones at the end."""

import os
import sys
import traceback
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from robobase import signals
from robobase.run_record import FAILURE


def is_job() -> bool:
    """Whether this run is one of a multirun."""
    if signals.PARENT in os.environ:
        return True
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def record_failure(work_dir: Path, error: BaseException | str) -> None:
    """Leave the message (first line) and the traceback of a failed job in its run folder."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, BaseException):
        text += f"\n\n{''.join(traceback.format_exception(error))}"
    work_dir.mkdir(parents=True, exist_ok=True)
    (work_dir / FAILURE).write_text(f"{text}\n", encoding="utf-8")


def report_failures(sweep_dir: Path, num_jobs: int) -> int:
    """Name the jobs that failed, one line each; returns their number."""
    failures = sorted(sweep_dir.glob(f"**/{FAILURE}"))
    if failures:
        print(f"error: {len(failures)} of {num_jobs} jobs failed", file=sys.stderr)
    for file in failures:
        reason = (file.read_text(encoding="utf-8").splitlines() or ["unknown"])[0]
        print(f"  {file.parent}: {reason}", file=sys.stderr)
    return len(failures)


def jobs_at_once(n_jobs: int, num_jobs: int) -> int:
    """How many of `num_jobs` run beside each other; -1: one per core, -2: one less."""
    from robobase import compute  # imports torch, which the process of a multirun can do without

    if n_jobs < 0:
        n_jobs = max(1, compute.available_cores() + 1 + n_jobs)
    return max(1, min(n_jobs, num_jobs))


class SweepReport(Callback):
    """Hydra callback of the process that starts a multirun."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        from robobase import compute

        n_jobs = int(OmegaConf.select(config, "hydra.launcher.n_jobs", default=1))
        compute.announce_concurrent_jobs(jobs_at_once(n_jobs, count_jobs(config)))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if report_failures(Path(config.hydra.sweep.dir), count_jobs(config)):
            sys.exit(1)


def count_jobs(config: DictConfig) -> int:
    """Of the multirun of this config."""
    overrides = OmegaConf.to_container(config.hydra.overrides.task)
    parsed = OverridesParser.create().parse_overrides(overrides)  # type: ignore[arg-type]
    return len(BasicSweeper.split_arguments(parsed, None)[0])
