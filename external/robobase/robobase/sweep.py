"""Multiruns: their jobs, what is said of them, and which failed."""

import os
import sys
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from robobase import signals, sweep_jobs
from robobase.run_record import FAILURE
from robobase.sweep_jobs import Plan, Words


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


def report_failures(sweep_dir: Path, num_jobs: int, others: Collection[Path] = ()) -> int:
    """Name the jobs that failed, one line each; returns their number.

    Args:
        others: folders of jobs that are not meant.
    """
    failures = [file for file in sweep_dir.glob(f"**/{FAILURE}") if file.parent not in others]
    if failures:
        print(f"error: {len(failures)} of {num_jobs} jobs failed", file=sys.stderr)
    for file in sorted(failures):
        reason = (file.read_text(encoding="utf-8").splitlines() or ["unknown"])[0]
        print(f"  {file.parent}: {reason}", file=sys.stderr)
    return len(failures)


def report(config: DictConfig) -> int:
    """`report_failures` of the multirun of this config; other grids in its folder are left out."""
    root = Path(config.hydra.sweep.dir)
    known = sweep_jobs.known(root)
    # By its method: Hydra loads its plugins more than once, each time as another class.
    if not hasattr(get_class(config.hydra.sweeper._target_), BasicSweeper.split_arguments.__name__):
        return report_failures(root, len(known))
    keys = {tuple(sorted(job)) for job in grid(config)}
    others = [root / job.folder for job in known if job.key not in keys]
    return report_failures(root, len(keys), others)


def grid(config: DictConfig, loader: ConfigLoader | None = None) -> list[Words]:
    """The overrides of each job of the multirun of this config.

    Those of `hydra.sweeper.params` come with it; the command line's win.
    """
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(words(config))
    return [tuple(job) for job in BasicSweeper.split_arguments(parsed, None)[0]]


def words(config: DictConfig) -> list[str]:
    """`hydra.sweeper.params` of this config and the command line, which comes last and wins."""
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    return [f"{key}={value}" for key, value in params.items()] + [*config.hydra.overrides.task]


def tell(plan: Plan, root: Path) -> None:
    """Say what of a sweep is there already, where something is."""
    if plan.is_fresh:
        return
    other = "hydra.sweep.dir=... begins a new one"
    if plan.is_finished:
        print(f"the sweep in {root} is finished, {len(plan.finished)} jobs; {other}", flush=True)
        return
    print(f"going on with the sweep in {root}: {plan}; {other}", flush=True)
    for job in plan.running:
        print(f"job {job.folder}: run by another process, left alone", flush=True)


def announce(config: DictConfig, num_jobs: int) -> None:
    """Let the jobs of this config's multirun know how many of `num_jobs` share the machine."""
    from robobase import compute  # imports torch

    n_jobs = int(OmegaConf.select(config, "hydra.launcher.n_jobs", default=1))
    compute.announce_concurrent_jobs(jobs_at_once(n_jobs, num_jobs))


def jobs_at_once(n_jobs: int, num_jobs: int) -> int:
    """How many of `num_jobs` run beside each other; -1: one per core, -2: one less."""
    from robobase import compute  # imports torch, which the process of a multirun can do without

    if n_jobs < 0:
        n_jobs = max(1, compute.available_cores() + 1 + n_jobs)
    return max(1, min(n_jobs, num_jobs))


class SweepReport(Callback):
    """Hydra callback of the process that starts a multirun: names the failed jobs at its end."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if report(config):
            sys.exit(1)
