"""Policy steps per second of training in seg_depth, end to end: this project against the design
of the original, in turns on the same machine.

python benchmarks/original_design.py [--seconds 30] [--collect_seconds 5] [--turns 3]

This project is the workspace of `python -m robobase.train env=so101_lift` without evaluations,
snapshots and logs. The original's design is rebuilt from what is known of it:

- 8 environments, a process each, with a model of its own and two `mujoco.Renderer` of 640x480 on
  the full meshes, for class ids and for depth, at every policy step; OpenCV resizes to 84x84;
- an episode that ends is compressed into an npz file, which one of the 4 workers of a DataLoader
  reads; they make samples one at a time, and the DataLoader collates 256 of them;
- the network of `launch=reference`, one update per two transitions.

Where it is not known, the choice favours the original: our physics, control and rewards, several
times as fast as its own; our DrQ-v2 update; the nearest pixel in resizing, before anything else is
computed; samples cut as slices; no logs; a buffer filled with uncompressed episodes beforehand.
Its action_repeat of 2 repeated nothing, so its policy step is one control step, ours two. Episodes
of its environments end one after the other, as late in a run, not all at once. Each design is
opened for its turn and closed after it, in a process of its own: neither gets the other's memory
and thread settings, and ours does not share the machine with the original's 13 processes, which
even idle made it a fifth slower.
"""

import argparse
import contextlib
import itertools
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from _machine import machine_line
from _original_design import SEED, Batch, OriginalTraining
from hydra import compose, initialize_config_module

from robobase import compute
from robobase.errors import UserError
from robobase.workspace import Workspace

ORIGINAL, OURS = DESIGNS = ("original's design", "this project")
NO_EXTRAS = ["num_eval_episodes=0", "save_snapshot=false", "save_csv=false", "tb.use=false"]


class OurTraining:
    """The workspace's training loop, in the two halves of its iteration."""

    def __init__(self, folder: Path, num_gpus: int):
        overrides = ["env=so101_lift", "env.renderer=gl", f"seed={SEED}", f"num_gpus={num_gpus}"]
        with initialize_config_module("robobase.cfgs", version_base=None):
            cfg = compose("robobase_config", overrides=overrides + NO_EXTRAS)
        with contextlib.redirect_stdout(sys.stderr):
            self._workspace = Workspace(cfg, work_dir=folder)
        self.num_envs = cfg.num_train_envs
        self._workspace.collector.start()
        while self._workspace.progress.updates == 0:
            self.collect()
            self.learn()

    @property
    def batches(self) -> Iterator[Batch]:
        return self._workspace.replay_iter

    @batches.setter
    def batches(self, batches: Iterator[Batch]) -> None:
        self._workspace.learner.replay_iter = batches

    def collect(self) -> None:
        self._workspace.collector.step()

    def learn(self) -> None:
        self._workspace.learner.learn()

    def close(self) -> None:
        self._workspace.shutdown()


class TimedBatches:
    """An iterator that knows how many seconds were spent waiting for it."""

    def __init__(self, batches: Iterator[Batch]):
        self._batches, self.seconds = batches, 0.0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        start = time.perf_counter()
        batch = next(self._batches)
        self.seconds += time.perf_counter() - start
        return batch


@dataclass
class Stretch:
    """What a design did in some seconds."""

    steps: int = 0  # of the policy, in all environments together
    collecting: float = 0.0  # seconds of acting, stepping, rendering and storing
    sampling: float = 0.0  # seconds of waiting for batches
    updating: float = 0.0  # seconds of the updates themselves

    @property
    def seconds(self) -> float:
        return self.collecting + self.sampling + self.updating

    @property
    def rate(self) -> float:
        return self.steps / self.seconds


class Measurement:
    """A design, ready to be measured."""

    def __init__(self, name: str, folder: Path, num_gpus: int):
        folder.mkdir()
        torch.manual_seed(SEED)
        self._synchronize = compute.pick_device(num_gpus).type == "cuda"
        training = OurTraining if name == OURS else OriginalTraining
        self.design: OurTraining | OriginalTraining = training(folder, num_gpus)
        self._batches = self.design.batches = TimedBatches(self.design.batches)
        self.design.collect()
        self.design.learn()

    def run(self, seconds: float, learn: bool) -> Stretch:
        """Collect, and learn if `learn`, until `seconds` are over."""
        stretch = Stretch()
        while stretch.seconds < seconds:
            start, waited = time.perf_counter(), self._batches.seconds
            self.design.collect()
            collected = time.perf_counter()
            if learn:
                self.design.learn()
                if self._synchronize:
                    torch.cuda.synchronize()
            sampling = self._batches.seconds - waited
            stretch.steps += self.design.num_envs
            stretch.collecting += collected - start
            stretch.sampling += sampling
            stretch.updating += time.perf_counter() - collected - sampling
        return stretch


_measurement: Measurement | None = None  # of the process that this is


def _open(name: str, folder: Path, num_gpus: int) -> None:
    global _measurement
    with _interruptible():
        _measurement = Measurement(name, folder, num_gpus)


def _run(seconds: float, learn: bool) -> Stretch:
    assert _measurement is not None
    with _interruptible():
        return _measurement.run(seconds, learn)


def _close() -> None:
    if _measurement is not None:
        _measurement.design.close()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end what runs; at other times the process waits to be told to close."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def main() -> None:
    parser = argparse.ArgumentParser(description="Training, end to end, against the original's.")
    parser.add_argument("--seconds", type=float, default=30.0, help="of learning, side and turn")
    parser.add_argument("--collect_seconds", type=float, default=5.0, help="of collecting alone")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--num_gpus", type=int, default=1, help="0: on the CPU")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        collecting, learning = measure(args)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    report(args, collecting, learning)


def measure(args: argparse.Namespace) -> tuple[dict[str, list[Stretch]], dict[str, list[Stretch]]]:
    """Stretches of collecting alone, and of collecting and learning, by design."""
    collecting: dict[str, list[Stretch]] = {name: [] for name in DESIGNS}
    learning: dict[str, list[Stretch]] = {name: [] for name in DESIGNS}
    # Ours comes first: it says what to install where OpenGL is missing.
    for turn, name in itertools.product(range(args.turns), (OURS, ORIGINAL)):
        with tempfile.TemporaryDirectory() as temporary, _process() as pool:
            try:
                pool.submit(_open, name, Path(temporary) / f"turn_{turn}", args.num_gpus).result()
                collecting[name].append(pool.submit(_run, args.collect_seconds, False).result())
                learning[name].append(pool.submit(_run, args.seconds, True).result())
            finally:
                with contextlib.suppress(BrokenExecutor):
                    pool.submit(_close).result()
    return collecting, learning


def _process() -> ProcessPoolExecutor:
    ignore = (signal.SIGINT, signal.SIG_IGN)
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=signal.signal, initargs=ignore)


def report(
    args: argparse.Namespace,
    collecting: dict[str, list[Stretch]],
    learning: dict[str, list[Stretch]],
) -> None:
    device = compute.describe(compute.pick_device(args.num_gpus), compute.available_cores())
    print(f"{machine_line('torch', 'mujoco')}, {device}")
    print(
        f"medians of {args.turns} turns of {args.collect_seconds:g} s collecting and "
        f"{args.seconds:g} s collecting and learning each, seed {SEED}\n"
    )
    print("| policy steps/s | collecting | collecting and learning ", end="")
    print("| of that time: collecting | sampling | updates |\n|---|---:|---:|---:|---:|---:|")
    alone = {name: _median(s.rate for s in stretches) for name, stretches in collecting.items()}
    both = {name: _median(s.rate for s in stretches) for name, stretches in learning.items()}
    for name in DESIGNS:
        shares = [
            _median(getattr(s, part) / s.seconds for s in learning[name])
            for part in ("collecting", "sampling", "updating")
        ]
        cells = " | ".join(f"{share:.1%}" for share in shares)
        print(f"| {name} | {alone[name]:,.1f} | {both[name]:,.1f} | {cells} |")
    ratios = [rates[OURS] / rates[ORIGINAL] for rates in (alone, both)]
    print(f"| ratio | {ratios[0]:.1f} | {ratios[1]:.1f} | | | |\n")
    turns = (ours.rate / its.rate for its, ours in zip(*learning.values(), strict=True))
    print(f"Ratio while learning, by turn: {', '.join(f'{turn:.1f}' for turn in turns)}.")
    print(f"While learning, ours collects at {both[OURS] / alone[OURS]:.0%} of its speed.")


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


if __name__ == "__main__":
    main()
