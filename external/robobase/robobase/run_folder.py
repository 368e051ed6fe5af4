"""The folder of one run: claimed by it alone, and what it says about the run.

`config.yaml`, `versions.json`, and the rows of CSV tables that a resumed run takes along.
"""

import contextlib
import csv
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from robobase import output_folder, snapshot, stored_config
from robobase.errors import UserError, one_line
from robobase.locks import FolderLock
from robobase.progress import Progress
from robobase.reading import read_csv
from robobase.settings.tree import leaves

_MOST_TOLD = 200  # characters of a changed setting

CONFIG, VERSIONS, HYDRA = "config.yaml", "versions.json", ".hydra"

_LEFTOVERS = re.compile(r"\..+\.\d+\.tmp(\.\w+)?|\..+\.part\.\w+")  # our own names, before renaming


def claim(work_dir: Path, resume_from: Path | None = None) -> FolderLock:
    """Take `work_dir` for one run: make it, lock it, clear what a killed write left there.

    A folder that holds a run is taken only to go on with that run: where `resume_from` is one of
    its own snapshots, and none of a later step is there, which going on would overwrite.

    Raises:
        UserError: the folder holds a run, is in use by another process, or cannot be written.
    """
    own = _is_own(resume_from, work_dir)
    latest = work_dir / "snapshots" / snapshot.LATEST
    there = f"resume_from={latest} goes on with it; otherwise " if latest.exists() else ""
    advice = f"{there}name another hydra.run.dir"
    lock = output_folder.claim(work_dir, () if own else output_folder.OF_RUNS, "a run", advice)
    try:
        if own:
            _require_latest(resume_from, latest)  # type: ignore[arg-type]
        for part in (work_dir, work_dir / "snapshots", work_dir / "eval_videos"):
            _clear_leftovers(part)
    except BaseException:
        lock.release()
        raise
    return lock


def _is_own(resume_from: Path | None, work_dir: Path) -> bool:
    folder = (work_dir / "snapshots").resolve()
    return resume_from is not None and resume_from.resolve().parent == folder


def _require_latest(resume_from: Path, latest: Path) -> None:
    """Raise UserError if going on from `resume_from` would overwrite what came after it."""
    if resume_from.name == snapshot.LATEST or not latest.exists():
        return
    try:
        reached, here = (_env_steps(path) for path in (latest, resume_from))
    except UserError:  # a damaged latest one is why people go back; the other is read later
        return
    if here < reached:
        raise UserError(
            f"{resume_from} is at {here} env steps and its run at {reached}: going on there would "
            f"overwrite the later part; name another hydra.run.dir, or give {latest}"
        )


def _env_steps(path: Path) -> int:
    progress = snapshot.read(path).get("progress")
    steps = progress.get("env_steps") if isinstance(progress, dict) else None
    return steps if isinstance(steps, int) else 0


def _clear_leftovers(folder: Path) -> None:
    if folder.is_dir():
        for file in folder.iterdir():
            if _LEFTOVERS.fullmatch(file.name) and file.is_file() and not file.is_symlink():
                file.unlink()


def require_in_place(lock: FolderLock) -> None:
    """Raise UserError if the run folder was removed or renamed since it was claimed."""
    if not lock.is_in_place():
        raise UserError(
            f"run folder {lock.folder} is gone: it was removed or renamed while the run wrote into "
            "it; where it is now, its snapshots are whole: resume_from=... goes on from there"
        )


def abandon(lock: FolderLock, resume_from: Path | None = None) -> None:
    """Give up a folder that was claimed for a run which could not begin.

    What `prepare` wrote for a new run is removed, and the folder if nothing else is in it.
    """
    if not _is_own(resume_from, lock.folder):
        for name in (CONFIG, VERSIONS):
            (lock.folder / name).unlink(missing_ok=True)
        shutil.rmtree(lock.folder / HYDRA, ignore_errors=True)
    with contextlib.suppress(OSError):
        lock.folder.rmdir()
    lock.release()


def prepare(work_dir: Path, cfg: DictConfig) -> None:
    """Create the folder and write `config.yaml` and `versions.json` into it.

    Where Hydra made the folder, also what Hydra keeps in `.hydra`; not before, because it would
    have overwritten those of a run that is there already.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        _write(work_dir / CONFIG, OmegaConf.to_yaml(cfg))
        _write(work_dir / VERSIONS, json.dumps(versions(), indent=2) + "\n")
        if HydraConfig.initialized() and _is_of_hydra(work_dir, HydraConfig.get()):
            _write_hydra(work_dir / HYDRA, cfg, HydraConfig.get())
    except OSError as error:
        raise UserError(
            f"cannot write run folder {work_dir}: {error.strerror}; choose another hydra.run.dir"
        ) from error


def _is_of_hydra(work_dir: Path, hydra: HydraConf) -> bool:
    if OmegaConf.is_missing(hydra.runtime, "output_dir"):
        return False
    return Path(hydra.runtime.output_dir) == work_dir.absolute()


def _write_hydra(folder: Path, cfg: DictConfig, hydra: HydraConf) -> None:
    folder.mkdir(exist_ok=True)
    _write(folder / "config.yaml", OmegaConf.to_yaml(cfg))
    _write(folder / "hydra.yaml", OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra})))
    _write(folder / "overrides.yaml", OmegaConf.to_yaml(hydra.overrides.task))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


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


def continue_records(
    path: Path,
    state: Mapping[str, Any],
    work_dir: Path,
    cfg: DictConfig,
    progress: Progress,
    snapshots: snapshot.SnapshotKeeper,
) -> None:
    """Take along what the run of the snapshot `path` logged, and say which settings changed."""
    changed = changed_keys(state.get("cfg"), cfg)
    folder, steps = path.resolve().parent, progress.env_steps
    carry_over_csvs(folder.parent, work_dir, steps, progress.pretrain_step)
    snapshots.carry_over_best(folder)
    print(f"resumed {path} at {steps} env steps; changed settings: {', '.join(changed) or 'none'}")
    if steps and state.get("replay") is None and not cfg.is_imitation_learning:
        print("the snapshot is without its replay buffer: the run fills a new one")


def carry_over_csvs(source: Path, work_dir: Path, env_steps: int, pretrain_steps: int) -> None:
    """Give a resumed run the rows its past left in `source`, up to where its snapshot is.

    Tables of pre-training count `pretrain_steps`, all others `env_steps`.
    `source` may be `work_dir` itself: rows that were written after the snapshot are dropped there,
    because the resumed run writes them again.
    """
    for file in source.glob("*.csv"):
        try:
            header, rows = read_csv(file)
        except UserError as error:  # the folder may be anybody's
            print(f"left behind: {error}")
            continue
        if "step" not in header:
            continue
        step = header.index("step")
        reached = pretrain_steps if file.stem.startswith("pretrain") else env_steps
        kept = [row for row in rows if len(row) == len(header) and _is_until(row[step], reached)]
        temporary = work_dir / f".{file.name}.{os.getpid()}.tmp"
        with open(temporary, "w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([header, *kept])
        os.replace(temporary, work_dir / file.name)


def _is_until(step: str, reached: int) -> bool:
    return step.isascii() and step.isdigit() and len(step) < 20 and int(step) <= reached


def changed_keys(stored_yaml: Any, cfg: DictConfig) -> list[str]:
    """`key: old -> new` for every setting but `resume_from` that differs from a snapshot's.

    A stored config that is not plain data is not compared: the run's own holds in any case.
    """
    try:
        stored = stored_config.parse(stored_yaml, "the snapshot")
    except UserError as error:
        return [f"not compared, {error}"]
    old = dict(leaves(stored))
    new = dict(leaves(OmegaConf.to_container(cfg, resolve=True)))
    absent = "(absent)"
    return [
        one_line(f"{key}: {old.get(key, absent)} -> {new.get(key, absent)}")[:_MOST_TOLD]
        for key in sorted((old.keys() | new.keys()) - {"resume_from"})
        if old.get(key, absent) != new.get(key, absent)
    ]
