"""What the slow tests of clusters have in common: sweeps of the tiny task as commands."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tiny_task import CONFIG_DIR

SECONDS = 400
SETTINGS = ["env=tiny", "num_gpus=0", "num_threads=1", "eval_every_steps=500"]
CLOCKS = ("time", "per_second")


class Sweeps:
    """Calls of `python -m robobase.train -m`, in one folder."""

    def __init__(self, folder: Path, environment: dict[str, str], launcher: Sequence[str]):
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        self.folder, self._launcher = folder, list(launcher)
        self.environment = {**environment, "PYTHONPATH": path}
        self._calls: list[subprocess.Popen] = []

    def start(self, *words: str, launcher: Sequence[str] | None = None) -> subprocess.Popen:
        command = [sys.executable, "-m", "robobase.train", "-m", "--config-dir", str(CONFIG_DIR)]
        command += [*SETTINGS, *(self._launcher if launcher is None else launcher), *words]
        call = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A test that is started in the background would pass on that SIGINT is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self._calls.append(call)
        return call

    def run(self, *words: str) -> tuple[int, str]:
        """Exit code and output."""
        return end(self.start(*words))

    def unbroken(self, *words: str) -> None:
        """The same on this machine alone, without interruption."""
        code, out = end(self.start(*words, launcher=["hydra.launcher.n_jobs=2"]))
        assert code == 0, out

    def close(self) -> None:
        for call in self._calls:
            if call.poll() is None:
                call.kill()
                call.wait()


def end(call: subprocess.Popen) -> tuple[int, str]:
    out, _ = call.communicate(timeout=SECONDS)
    print("\n".join(line for line in out.splitlines() if not line.startswith(("train ", "eval "))))
    return call.returncode, out


def wait(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def steps(folder: Path) -> int:
    """That the table of a run has come to."""
    rows = table(folder / "train.csv") if (folder / "train.csv").exists() else []
    return int(rows[-1]["env_steps"]) if rows else 0


def table(file: Path) -> list[dict[str, str]]:
    """Rows without what clocks say."""
    with open(file, newline="") as text:
        rows = list(csv.DictReader(text))
    return [
        {k: v for k, v in row.items() if not any(clock in k for clock in CLOCKS)} for row in rows
    ]


def metrics(folder: Path) -> list[dict[str, str]]:
    rows = table(folder / "train.csv") + table(folder / "eval.csv")
    assert len(rows) > 4
    return rows


def status(folder: Path) -> list[str]:
    return [row["status"].partition(":")[0] for row in table(folder / "jobs.csv")]
