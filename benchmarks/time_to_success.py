"""Env steps and wall-clock time that presets need to 90 % and 95 % success, over seeds.

python benchmarks/time_to_success.py launch=from_scratch launch=demos --seeds 1 2 3
    [--jobs 1] [--reference_minutes 10] [--out FOLDER] [-- further=overrides]

Finished runs in --out are kept and interrupted ones resumed. The best and the last snapshot of
each run play 1,000 episodes from the seeds of `so101_robobase evaluate --final`: start states that
no training, evaluation or choice has used.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _machine import machine_line
from _runs import Training, command_line, markdown_table, run_script, split_overrides, train_all
from omegaconf import OmegaConf

from robobase import compute, stored_config
from robobase.errors import UserError
from robobase.metrics_csv import read_table
from so101_robobase.evaluation.evaluate_command import FINAL_EPISODES, FINAL_SEED
from so101_robobase.evaluation.policy import load_policy
from so101_robobase.evaluation.report import write_json
from so101_robobase.evaluation.session import play
from so101_robobase.evaluation.statistics import summarise, wilson_interval
from so101_robobase.experiments.runs import Run, find_runs
from so101_robobase.sim.threads import usable_threads

LEVELS = (0.90, 0.95)
HEADER = [
    "preset", "seed", *(f"first evaluation ≥ {level:.0%}" for level in LEVELS),
    "best snapshot", "last snapshot", "whole run",
]  # fmt: skip
REPORT = "time_to_success.md"


@dataclass(frozen=True)
class Score:
    """Successes of an evaluation, or of several added up."""

    successes: int
    episodes: int

    def __str__(self) -> str:
        low, high = wilson_interval(self.successes, self.episodes)
        return f"{self.successes / self.episodes:.1%} ({low:.1%}–{high:.1%})"


@dataclass(frozen=True)
class Outcome:
    """What a finished run came to; `first` holds (env steps, seconds) per level, inf if never."""

    preset: str
    seed: int
    first: tuple[tuple[float, float], ...]
    best: Score
    last: Score
    env_steps: int
    seconds: float
    learning: tuple[float, float] = (math.nan, math.nan)  # env steps/s, updates/s once it learns
    resumed: bool = False


def main(argv: list[str]) -> None:
    own, extra = split_overrides(argv)
    args = parse(own)
    if args.jobs > 1:
        extra = (f"num_threads={max(1, usable_threads() // args.jobs)}", *extra)
    trainings = [Training(p, seed, args.out, extra) for p in args.presets for seed in args.seeds]
    if args.reference_minutes:
        limit = args.reference_minutes
        often = (*extra, "log_every=160")  # it is too slow to log twice in minutes else
        trainings.append(Training("reference", args.seeds[0], args.out, often, limit))
    for training in trainings:
        training.check()
    train_all(trainings, args.jobs)
    outcomes = [outcome(training, args.num_episodes) for training in trainings]
    text = report(outcomes, trainings, args)
    (args.out / REPORT).write_text(text)
    print(text, end="")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.add_argument("presets", nargs="+", metavar="launch=NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once; they share cores")
    parser.add_argument("--num_episodes", type=int, default=FINAL_EPISODES, help="per snapshot")
    parser.add_argument("--reference_minutes", type=float, help="also train launch=reference")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/time_to_success"))
    args = parser.parse_args(argv)
    for word in args.presets:
        if not word.startswith("launch="):
            raise UserError(f"'{word}' names no preset; give launch=NAME, and overrides after --")
    args.presets = list(dict.fromkeys(word.removeprefix("launch=") for word in args.presets))
    args.seeds = list(dict.fromkeys(args.seeds))
    if min(args.jobs, args.num_episodes) < 1:
        raise UserError("--jobs and --num_episodes must be 1 or more")
    if args.reference_minutes is not None and args.reference_minutes <= 0:
        raise UserError(f"--reference_minutes {args.reference_minutes:g} must be more than 0")
    return args


def outcome(training: Training, num_episodes: int) -> Outcome:
    """Reads a finished run, after evaluating its snapshots where that has not been done."""
    state = training.state()
    cfg = OmegaConf.create(stored_config.load(training.folder / "config.yaml"))
    return Outcome(
        preset=training.label,
        seed=training.seed,
        first=first_reaching(find_runs([training.folder])[0]),
        best=score(training.best, num_episodes),
        last=score(training.latest, num_episodes),
        env_steps=state["progress"]["env_steps"],
        seconds=state["total_time"],
        learning=learning_rates(*read_table(training.folder / "train.csv")),
        resumed=cfg.resume_from is not None,
    )


def first_reaching(run: Run) -> tuple[tuple[float, float], ...]:
    """Env steps and seconds of the first evaluation at each level; inf where none is."""
    at = [run.first_reaching(level) for level in LEVELS]
    never = math.inf, math.inf
    return tuple(
        never if i is None else (float(run.env_steps[i]), float(run.total_time[i])) for i in at
    )


def learning_rates(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Env steps/s and updates/s from the first row of train.csv with an update to the last.

    Evaluations are in, the exploration before the first update is not. nan for less than two rows.
    """
    at = [columns.index(name) for name in ("total_time", "env_steps", "updates")]
    logged = np.array([[float(row[i]) for i in at] for row in rows]).reshape(-1, 3)
    learning = logged[logged[:, 2] > 0]
    if len(learning) < 2:
        return math.nan, math.nan
    seconds, steps, updates = learning[-1] - learning[0]
    return float(steps / seconds), float(updates / seconds)


def score(snapshot: Path, num_episodes: int) -> Score:
    """Success of `snapshot`; the episodes are kept in the run's `evaluation` folder."""
    file = snapshot.parent.parent / "evaluation" / f"{snapshot.stem}.json"
    if not _holds(file, snapshot, num_episodes):
        policy = load_policy(snapshot, compute.pick_device(num_gpus=1))
        episodes, _ = play(policy, num_episodes, seed=FINAL_SEED)
        file.parent.mkdir(exist_ok=True)
        settings = {"snapshot": str(snapshot.resolve()), "seed": FINAL_SEED}
        write_json(file, settings, summarise(episodes), episodes)
    summary = json.loads(file.read_text())["summary"]
    return Score(summary["successes"], summary["num_episodes"])


def _holds(file: Path, snapshot: Path, num_episodes: int) -> bool:
    """Whether `file` is an evaluation of `snapshot` as it is now."""
    if not file.exists() or file.stat().st_mtime < snapshot.stat().st_mtime:
        return False
    held = json.loads(file.read_text())
    settings = held["settings"]["seed"], held["summary"]["num_episodes"]
    return settings == (FINAL_SEED, num_episodes)


def report(
    outcomes: Sequence[Outcome], trainings: Sequence[Training], args: argparse.Namespace
) -> str:
    """The tables and what is needed to read them, as markdown."""
    paragraphs = [machine_line("torch", "mujoco"), markdown_table(HEADER, rows(outcomes))]
    if args.reference_minutes:
        paragraphs.append(markdown_table(*rates(outcomes)))
    evaluated = sorted({training.cfg.num_eval_episodes for training in trainings})
    paragraphs.append(
        f"Evaluations during training: {' or '.join(map(str, evaluated))} episodes; snapshots: "
        f"{args.num_episodes:,} other episodes, the same for all, with 95 % Wilson interval (of "
        "episodes: it does not cover the spread between seeds). Env steps / seconds; seconds count "
        f"set-up and evaluations, but not {start_up_seconds():.0f} s to start Python. "
        f"{args.jobs} at a time. Code: {', '.join(sorted(commits(trainings)))}."
    )
    return "\n\n".join(paragraphs) + "\n"


def rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """One row per run and, for a preset with several seeds, one for all of them."""
    table = []
    for preset in dict.fromkeys(outcome.preset for outcome in outcomes):
        same = [outcome for outcome in outcomes if outcome.preset == preset]
        for one in same:
            seed = f"{one.seed}, resumed" if one.resumed else str(one.seed)
            reached = [_steps_seconds(*first) for first in one.first]
            whole = _steps_seconds(one.env_steps, one.seconds)
            table.append([preset, seed, *reached, str(one.best), str(one.last), whole])
        if len(same) > 1:
            table.append(_pooled(preset, same))
    return table


def _pooled(preset: str, outcomes: Sequence[Outcome]) -> list[str]:
    reached = [_over_seeds(firsts) for firsts in zip(*(o.first for o in outcomes), strict=True)]
    best, last = _sum(o.best for o in outcomes), _sum(o.last for o in outcomes)
    whole = _steps_seconds(
        statistics.median(o.env_steps for o in outcomes),
        statistics.median(o.seconds for o in outcomes),
    )
    cells = [preset, f"all {len(outcomes)}", *reached, str(best), str(last), f"median {whole}"]
    return [f"**{cell}**" for cell in cells]


def _over_seeds(firsts: Sequence[tuple[float, float]]) -> str:
    """How many seeds got there, the median (a seed that never did counts as slowest), the worst."""
    steps, seconds = zip(*firsts, strict=True)
    count = sum(map(math.isfinite, steps))
    median = _steps_seconds(statistics.median(steps), statistics.median(seconds))
    worst = _steps_seconds(max(steps), max(seconds))
    return f"{count} of {len(firsts)} seeds; median {median}; worst {worst}"


def _sum(scores: Iterable[Score]) -> Score:
    successes, episodes = zip(*((s.successes, s.episodes) for s in scores), strict=True)
    return Score(sum(successes), sum(episodes))


def _steps_seconds(steps: float, seconds: float) -> str:
    return f"{steps:,.0f} / {seconds:,.0f} s" if math.isfinite(steps) else "–"


def rates(outcomes: Sequence[Outcome]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: speed of each preset, mean over seeds, against the last: the reference."""
    speeds = {}
    for preset in dict.fromkeys(outcome.preset for outcome in outcomes):
        same = [outcome for outcome in outcomes if outcome.preset == preset]
        speeds[preset] = np.mean([(o.env_steps / o.seconds, *o.learning) for o in same], axis=0)
    reference = speeds[outcomes[-1].preset]
    table = []
    for preset, values in speeds.items():
        cells = [preset]
        for value, base in zip(values, reference, strict=True):
            known = [f"{value:,.1f}", f"{value / base:.1f}"]
            cells += ["–" if "nan" in text else text for text in known]
        table.append(cells)
    kinds = ("env steps/s, whole run", "env steps/s once learning", "updates/s once learning")
    return ["speed", *(cell for kind in kinds for cell in (kind, "ratio"))], table


def start_up_seconds() -> float:
    """What Python and imports take before a run's clock starts."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import robobase.train"], check=True)
    return time.perf_counter() - start


def commits(trainings: Iterable[Training]) -> set[str]:
    """The versions of the code that trained, with `-dirty` where it was edited."""
    files = (training.folder / "versions.json" for training in trainings)
    names = (json.loads(file.read_text())["git"] or "unknown" for file in files)
    return {name[:9] + "-dirty" * name.endswith("-dirty") for name in names}


if __name__ == "__main__":
    run_script(main)
