"""A run that is a trial of a search: it reports its evaluations and ends where it is hopeless.

Needs Optuna, which is imported when a search is begun or reported to.
"""

import warnings
from pathlib import Path
from typing import Any

from robobase.callbacks import Callback, Run
from robobase.errors import UserError
from robobase.method.core import Metrics
from robobase.signals import PRUNED

FILE = "study.db"
"""The study of a search, in the sweep folder: beside its trials' run folders."""

PRUNING = "pruning_after"
"""Attribute of a study: after how many trials hopeless ones are ended; None: never."""

_NAME = "search"
_WAIT_SECONDS = 60  # for other trials, which write into the same file


class Trial(Callback):
    """Reports the success of each evaluation to trial `number` of the study beside `work_dir`.

    Raises:
        UserError: there is no such study or trial.
    """

    def __init__(self, work_dir: Path, number: int):
        file = work_dir.absolute().parent / FILE
        study = open_study(file)
        after = study.user_attrs.get(PRUNING)
        pruners = optuna().pruners
        study.pruner = pruners.NopPruner() if after is None else pruners.MedianPruner(after, 0)
        found = [trial for trial in study.trials if trial.number == number]
        if not found:
            raise UserError(f"trial={number} is not in {file}; hydra/sweeper=search sets it")
        self._trial = optuna().trial.Trial(study, found[0]._trial_id)

    def on_evaluation(self, run: Run, metrics: Metrics, prefix: str) -> None:
        if prefix != "eval" or "episode_success" not in metrics:
            return
        steps = run.progress.env_steps
        with warnings.catch_warnings():  # a resumed run repeats what it reported
            warnings.simplefilter("ignore")
            self._trial.report(float(metrics["episode_success"]), steps)
        if steps < run.cfg.num_train_frames and self._trial.should_prune():
            run.stop.ask(PRUNED)


def optuna() -> Any:
    """The package. Raises UserError where it is missing."""
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            "a search needs the package optuna; run `pip install 'optuna>=4'`"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def open_study(file: Path, begin: bool = False) -> Any:
    """The study in `file`; with `begin` it is made where it is missing.

    Raises:
        UserError: it is missing or cannot be read.
    """
    if not begin and not file.is_file():
        raise UserError(f"{file} is missing: trial=... is for runs of a search")
    package = optuna()
    try:
        storage = package.storages.RDBStorage(
            f"sqlite:///{file}", engine_kwargs={"connect_args": {"timeout": _WAIT_SECONDS}}
        )
        if begin:
            return package.create_study(
                study_name=_NAME, storage=storage, direction="maximize", load_if_exists=True
            )
        return package.load_study(study_name=_NAME, storage=storage)
    except Exception as error:  # of SQLAlchemy, of many kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"study {file} cannot be read ({reason}); name another sweep") from error
