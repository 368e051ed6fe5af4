"""Training runs for benchmarks: started as processes, watched, stopped politely, resumed, read."""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from robobase import output_folder, sanity, snapshot
from robobase.command_line import hydra_value
from robobase.errors import UserError
from robobase.metrics_csv import read_table
from robobase.run_folder import changed_keys

POLL_SECONDS = 1.0
OWN_KEYS = {"launch", "seed", "resume_from", "time_limit_minutes", "progress_bar"}
MAY_DIFFER = ("num_threads:", "time_limit_minutes:")  # between a run and its resumption


@dataclass(frozen=True)
class Training:
    """One run of `python -m robobase.train`; what is in its folder is kept and continued.

    Args:
        minutes: stop after this long, over all resumptions; None trains to num_train_frames.
    """

    preset: str
    seed: int
    out: Path
    extra: tuple[str, ...] = ()
    minutes: float | None = None

    @property
    def label(self) -> str:
        """The preset, and the limit where there is one."""
        return self.preset if self.minutes is None else f"{self.preset} ({self.minutes:g} min)"

    @property
    def folder(self) -> Path:
        limit = "" if self.minutes is None else f"_{self.minutes:g}min"
        return self.out / f"{self.preset}{limit}-{self.seed}"

    @property
    def latest(self) -> Path:
        return self.folder / "snapshots" / snapshot.LATEST

    @property
    def best(self) -> Path:
        return self.folder / "snapshots" / snapshot.BEST

    @property
    def overrides(self) -> list[str]:
        chosen = [f"launch={self.preset}", f"seed={self.seed}", "progress_bar=false"]
        return [*chosen, *self.extra]

    @cached_property
    def cfg(self) -> DictConfig:
        """What the overrides make of the defaults.

        Raises:
            UserError: an unknown preset or key, or settings that cannot work.
        """
        own = OWN_KEYS & {word.lstrip("+~").split("=")[0] for word in self.extra}
        if own or any("hydra." in word for word in self.extra):
            raise UserError(
                f"{' or '.join(sorted(own)) or 'hydra.*'} is this script's own business; "
                "leave it out of the overrides after --"
            )
        try:
            with initialize_config_module("robobase.cfgs", version_base=None):
                cfg = compose("robobase_config", overrides=self.overrides)
        except (HydraException, OmegaConfBaseException) as error:
            reason, *_ = str(error).split("Config search path")  # which follows the allowed names
            raise UserError(reason) from error
        sanity.check(cfg)
        return cfg

    def check(self) -> None:
        """Raise UserError if the settings cannot work or the folder holds a run with others."""
        cfg, stored = self.cfg, self.folder / "config.yaml"
        if not stored.exists():
            return
        changed = [c for c in changed_keys(stored.read_text(), cfg) if not c.startswith(MAY_DIFFER)]
        if changed:
            raise UserError(
                f"{self.folder} holds a run with other settings ({', '.join(changed)}); "
                "name another --out or remove it"
            )

    def state(self) -> dict[str, Any]:
        """The contents of the latest snapshot."""
        return snapshot.read(self.latest)

    def is_finished(self) -> bool:
        if not self.latest.exists():
            return False
        state = self.state()
        out_of_time = self.minutes is not None and state["total_time"] >= 60 * self.minutes
        return out_of_time or state["progress"]["env_steps"] >= self.cfg.num_train_frames

    def logged_steps(self) -> int:
        """Env steps in the last row of train.csv; 0 before the first."""
        table = self.folder / "train.csv"
        rows = read_table(table)[1] if table.exists() else []
        return int(rows[-1][0]) if rows else 0

    def start(self) -> subprocess.Popen:
        """Begin or resume; the output goes to `train.log`, a polite stop is SIGTERM."""
        command = [sys.executable, "-m", "robobase.train", *self.overrides]
        command.append(f"hydra.run.dir={hydra_value(str(self.folder.absolute()))}")
        spent = 0.0
        if self.latest.exists():
            command.append(f"resume_from={hydra_value(str(self.latest.absolute()))}")
            spent = self.state()["total_time"] / 60
        else:
            self._forget_beginning()
        if self.minutes is not None:
            command.append(f"time_limit_minutes={max(0.0, self.minutes - spent):.3f}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "train.log").open("a") as log:
                # a session of its own: Ctrl-C reaches it once, through `stop`, and not twice
                return subprocess.Popen(
                    command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
        except OSError as error:
            raise UserError(f"cannot write {self.folder}: {error.strerror}") from error

    def _forget_beginning(self) -> None:
        """Remove what a run left that ended before its first snapshot; it is begun once more."""
        for pattern in output_folder.OF_RUNS:
            for file in self.folder.glob(pattern):
                file.unlink()

    def expect_success(self, exit_code: int) -> None:
        """Raise UserError with the last line of the log if `exit_code` is not 0."""
        if exit_code:
            log = self.folder / "train.log"
            lines = log.read_text().strip().splitlines() or [f"exit code {exit_code}"]
            raise UserError(
                f"{self.folder.name} failed: {lines[-1].removeprefix('error: ')} (all of it: {log})"
            )


def train_all(trainings: Iterable[Training], jobs: int = 1) -> None:
    """Run what is not finished yet, `jobs` at a time; whatever ends this also stops them.

    Raises:
        UserError: one of them failed, or somebody else stopped it.
    """
    trainings = list(trainings)
    waiting = [training for training in trainings if not training.is_finished()]
    live: dict[str, tuple[Training, subprocess.Popen]] = {}
    counted = [training for training in trainings if training.minutes is None]

    def reached() -> int:
        return sum(training.logged_steps() for training in counted)

    total = sum(training.cfg.num_train_frames for training in counted)
    try:
        with tqdm(total=total, initial=reached(), unit="step", disable=None) as bar:
            while waiting or live:
                while waiting and len(live) < jobs:
                    training = waiting.pop(0)
                    live[training.folder.name] = training, training.start()
                bar.set_postfix_str(", ".join(live), refresh=False)
                time.sleep(POLL_SECONDS)
                for name, (training, process) in list(live.items()):
                    if process.poll() is None:
                        continue
                    del live[name]
                    training.expect_success(process.returncode)
                    if not training.is_finished():
                        raise UserError(f"{name} was stopped from outside; run this again")
                bar.update(reached() - bar.n)
    finally:
        stop(process for _, process in live.values())


def stop(processes: Iterable[subprocess.Popen]) -> None:
    """Ask trainings to end, which they do after a snapshot, and wait for them."""
    processes = [process for process in processes if process.poll() is None]
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """First column to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def split_overrides(argv: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """What stands before and after `--`."""
    argv = list(argv)
    at = argv.index("--") if "--" in argv else len(argv)
    return argv[:at], tuple(argv[at + 1 :])


def command_line(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the script's docstring as it stands."""
    kind = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=doc, formatter_class=kind)


def run_script(main: Callable[[list[str]], None]) -> NoReturn:
    """Run `main(arguments)`; mistakes end in one line and exit code 1, SIGTERM acts as Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
