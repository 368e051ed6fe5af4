"""Hydra's own folder of a run or a multirun, made so that no two share one."""

import contextlib
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from robobase import output_folder, signals, sweep_folder
from robobase.command_line import hydra_value, program
from robobase.errors import UserError
from robobase.locks import FolderLock
from robobase.sweep_jobs import MULTIRUN

USER_ERROR = 2  # exit code

_made: list[Path] = []
"""Folders of this process whose names nobody chose; those that stay empty are removed."""


class UniqueFolders(Callback):
    """Hydra callback: a default folder gets a name of its own, a sweep's is locked until the end.

    A run's folder is locked and looked at by the run itself (`run_folder.claim`), whoever starts
    it.
    """

    _lock: FolderLock | None = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        signals.end_with_parent()
        with _told():
            _require_multirun(config)
            if not _is_chosen(config, "hydra.run.dir"):
                _set_dir(config.hydra.run, _make(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _told():
            sweep = config.hydra.sweep
            if not _is_chosen(config, "hydra.sweep.dir"):
                _set_dir(sweep, sweep_folder.same(config) or _make(sweep.dir))
                with read_write(config), open_dict(config):  # each job composes its config anew
                    config.hydra.overrides.hydra.append(f"hydra.sweep.dir={hydra_value(sweep.dir)}")
            self._lock = sweep_folder.claim(config)


def remove_unused() -> None:
    """Remove the folders that were made for a run or a multirun of which nothing came."""
    for folder in _made:
        with contextlib.suppress(OSError):
            if [file.name for file in folder.iterdir()] == [MULTIRUN]:  # Hydra's own sweeper's
                (folder / MULTIRUN).unlink()
            folder.rmdir()
        with contextlib.suppress(OSError):  # runs/<experiment>, where this was the first run
            folder.parent.rmdir()
            folder.parent.parent.rmdir()
    _made.clear()


def _make(wish: str) -> Path:
    folder = output_folder.make_unique(Path(wish))
    _made.append(folder.absolute())
    return folder


def _is_chosen(config: DictConfig, key: str) -> bool:
    given = (word.lstrip("+") for word in config.hydra.overrides.hydra)
    return any(word.startswith(f"{key}=") for word in given)


def _require_multirun(config: DictConfig) -> None:
    """Raise UserError where a sweep was asked for (`+sweep=...`) and this is a single run."""
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    given = {word.lstrip("+").partition("=")[0] for word in config.hydra.overrides.task}
    absent = [str(key) for key in params if str(key).lstrip("+") not in given]
    if absent:
        words = ["python", *program(config.hydra), "-m", *config.hydra.overrides.task]
        raise UserError(f"this is a sweep over {', '.join(absent)}: add -m, {shlex.join(words)}")


def _set_dir(node: DictConfig, folder: Path) -> None:
    with read_write(node), open_dict(node):
        node.dir = str(folder)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Hydra would turn an exception of a callback into a warning and go on."""
    try:
        yield
        return
    except UserError as error:
        message = str(error)
    except OSError as error:
        message = f"cannot make {error.filename}: {error.strerror}; choose another hydra.run.dir"
    print(f"error: {message}", file=sys.stderr)
    sys.exit(USER_ERROR)
