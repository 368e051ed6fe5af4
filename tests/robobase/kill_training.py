"""Trains the tiny task, killing it at random moments; run by test_workspace_resume.py.

A process of its own, so that its children can be forked from one that has not used torch yet.
Usage: kill_training.py FOLDER KILLS SEED OVERRIDES...
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from tiny_task import tiny_config

from robobase.snapshot import LATEST, read
from robobase.workspace import Workspace


def train_in_child(folder: Path, overrides: list[str]) -> int:
    child = os.fork()
    if child == 0:
        Workspace(tiny_config(*overrides), work_dir=folder).train()
        os._exit(0)
    return child


def resume(folder: Path) -> list[str]:
    latest = folder / "snapshots" / LATEST
    if latest.exists():
        return [f"resume_from={latest}"]
    shutil.rmtree(folder, ignore_errors=True)  # killed before it had anything to go on from
    return []


def main() -> None:
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    overrides = sys.argv[4:]
    draw = random.Random(seed)
    os.waitpid(train_in_child(folder / "unbroken", overrides), 0)
    duration = read(folder / "unbroken" / "snapshots" / LATEST)["total_time"]

    killed, reached = folder / "killed", 0
    for _ in range(kills):
        child = train_in_child(killed, overrides + resume(killed))
        time.sleep(draw.uniform(0, 2 * duration / kills))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for file in killed.glob("snapshots/[!.]*.pt"):
            steps = read(file)["progress"]["env_steps"]  # every file that has its name is whole
            if file.name == LATEST:
                assert steps >= reached, f"fell back from {reached} to {steps}"
                reached = steps
        print(f"killed after {reached} env steps were safe", flush=True)
    _, status = os.waitpid(train_in_child(killed, overrides + resume(killed)), 0)
    assert status == 0


if __name__ == "__main__":
    main()
