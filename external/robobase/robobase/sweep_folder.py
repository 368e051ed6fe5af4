"""The folder of a sweep: the one that the same command began, or one that it may go on in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robobase import output_folder
from robobase.errors import UserError
from robobase.locks import FolderLock
from robobase.reading import read_yaml
from robobase.sweep_jobs import MULTIRUN

_MARKS = (*output_folder.OF_RUNS, "*/config.yaml", "*/error.txt")
_KIND = ("hydra.job.config_name", "hydra.sweeper._target_")  # sweeps that differ there do not mix


def same(config: DictConfig) -> Path | None:
    """The newest sweep that this command began, where it would begin one by default; or None."""
    files = list(Path(config.hydra.sweep.dir).parent.glob(f"*/{MULTIRUN}"))
    wanted = _command(OmegaConf.to_container(config.hydra))
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True):
        try:
            if _command(_read(file)) == wanted:
                return file.parent
        except UserError:  # of somebody else
            continue
    return None


def claim(config: DictConfig) -> FolderLock:
    """Make and lock the folder of this config's multirun; a sweep may be there, a run may not.

    Raises:
        UserError: it holds something else, another process works in it, or it cannot be written.
    """
    folder = Path(config.hydra.sweep.dir)
    advice = "name another hydra.sweep.dir"
    file = folder / MULTIRUN
    if not file.exists():
        return output_folder.claim(folder, _MARKS, "a sweep or run", advice)
    there, here = _read(file, advice), OmegaConf.to_container(config.hydra)
    for key in _KIND:
        if _select(there, key) != _select(here, key):
            raise UserError(
                f"{folder} holds a sweep of {key}={_select(there, key)}, this one has "
                f"{_select(here, key)}; {advice}"
            )
    return output_folder.claim(folder, (), "", f"wait for it to end, or {advice}")


def _command(hydra: Any) -> tuple[Any, ...]:
    """What sweeps of the same command have in common, in whatever order it was typed."""
    words = _select(hydra, "hydra.overrides.task")
    params = _select(hydra, "hydra.sweeper.params")
    return sorted(map(str, words or ())), params, *(_select(hydra, key) for key in _KIND)


def _read(file: Path, remedy: str = "") -> Any:
    """The node `hydra` of a sweep's config. Raises UserError where there is none."""
    content = read_yaml(file, what="sweep", remedy=remedy)
    if not isinstance(content, Mapping) or not isinstance(content.get("hydra"), Mapping):
        hint = f"; {remedy}" if remedy else ""
        raise UserError(f"{file.parent} holds a sweep that cannot be read ({file.name}){hint}")
    return content["hydra"]


def _select(hydra: Any, key: str) -> Any:
    """The value of `hydra.a.b`, as in the node `hydra`; None where it is missing."""
    for part in key.split(".")[1:]:
        hydra = hydra.get(part) if isinstance(hydra, Mapping) else None
    return hydra
