"""What a run folder says about its run: `config.yaml`, `versions.json`, and CSVs carried over."""

import csv
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from robobase import stored_config
from robobase.errors import UserError
from robobase.metrics_csv import read_table


def prepare(work_dir: Path, cfg: DictConfig) -> None:
    """Create the folder and write `config.yaml` and `versions.json` into it.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        (work_dir / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
        (work_dir / "versions.json").write_text(json.dumps(versions(), indent=2) + "\n")
    except OSError as error:
        raise UserError(
            f"cannot write run folder {work_dir}: {error.strerror}; choose another hydra.run.dir"
        ) from error


def versions() -> dict[str, Any]:
    """Everything needed to tell later what ran: code, command line, machine, packages."""
    return {
        "command": [sys.executable, *sys.argv],
        "git": _git_commit(Path(__file__).parent),
        "python": platform.python_version(),
        "machine": {
            "platform": platform.platform(),
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "gpus": [
                torch.cuda.get_device_name(i)
                for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
            ],
        },
        "packages": {
            d.name: d.version
            for d in sorted(importlib.metadata.distributions(), key=lambda d: d.name.lower())
        },
    }


def _git_commit(folder: Path) -> str | None:
    """Commit of the checkout this code runs from, with `-dirty` if it was edited since."""
    # Git refuses a checkout of somebody else for what its settings may run; its code runs here.
    trusted = ["-c", f"safe.directory={Path(__file__).resolve().parents[3]}"]
    words = ["describe", "--always", "--dirty", "--abbrev=40"]
    command = ["git", "-C", str(folder), *trusted, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")


def carry_over_csvs(source: Path, work_dir: Path, env_steps: int, pretrain_steps: int) -> None:
    """Give a resumed run the rows its past left in `source`, up to where its snapshot is.

    Tables of pre-training count `pretrain_steps`, all others `env_steps`.
    `source` may be `work_dir` itself: rows that were written after the snapshot are dropped there,
    because the resumed run writes them again.
    """
    for file in source.glob("*.csv"):
        header, rows = read_table(file)
        if "step" not in header:
            continue
        step = header.index("step")
        reached = pretrain_steps if file.stem.startswith("pretrain") else env_steps
        kept = [row for row in rows if int(row[step]) <= reached]
        temporary = work_dir / f".{file.name}.tmp"
        with open(temporary, "w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([header, *kept])
        os.replace(temporary, work_dir / file.name)


def command_to_resume(snapshot: Path) -> str:
    """A command line with this run's own words, because a resumed run takes no settings over."""
    words: list[str] = []
    if HydraConfig.initialized():
        job = HydraConfig.get()
        swept = job.mode == RunMode.MULTIRUN
        words = list(job.overrides.task) if swept else sys.argv[1:]
    kept = [word for word in words if not word.lstrip("+").startswith("resume_from=")]
    return shlex.join(["python", "-m", "robobase.train", *kept, f"resume_from={snapshot}"])


def changed_keys(stored_yaml: Any, cfg: DictConfig) -> list[str]:
    """`key: old -> new` for every setting but `resume_from` that differs from a snapshot's.

    A stored config that is not plain data is not compared: the run's own holds in any case.
    """
    try:
        stored = stored_config.parse(stored_yaml, "the snapshot")
    except UserError as error:
        return [f"not compared, {error}"]
    old, new = _flat(stored), _flat(OmegaConf.to_container(cfg, resolve=True))
    absent = "(absent)"
    return [
        f"{key}: {old.get(key, absent)} -> {new.get(key, absent)}"
        for key in sorted((old.keys() | new.keys()) - {"resume_from"})
        if old.get(key, absent) != new.get(key, absent)
    ]


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
