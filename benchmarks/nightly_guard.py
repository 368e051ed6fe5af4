"""Fails if `launch=state` needs more than twice the recorded env steps to 90 % success.

python benchmarks/nightly_guard.py            # minutes; ends at the first evaluation that decides
python benchmarks/nightly_guard.py --record   # writes what it took to nightly_guard.yaml

Overrides after -- are for trying the guard out; a recorded figure holds for the preset as it is.
"""

import math
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from _machine import machine_line
from _runs import POLL_SECONDS, Training, command_line, run_script, split_overrides, stop
from omegaconf import OmegaConf
from yaml import YAMLError

from robobase.errors import UserError
from so101_robobase.experiments.runs import EVALUATIONS, find_runs

PRESET, SEED = "state", 2  # the slowest of seeds 1 to 3
LEVEL = 0.90
SLACK = 2  # times the recorded env steps
RECORDED = Path(__file__).with_suffix(".yaml")


def main(argv: list[str]) -> None:
    own, extra = split_overrides(argv)
    parser = command_line(__doc__)
    parser.add_argument("--record", action="store_true", help="write the figure, check nothing")
    parser.add_argument("--level", type=float, default=LEVEL, help="success rate, 0 to 1")
    parser.add_argument("--recorded", type=Path, default=RECORDED, help="the figure's file")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/nightly_guard"))
    args = parser.parse_args(own)
    limit = math.inf if args.record else SLACK * recorded_steps(args.recorded)
    training = Training(PRESET, SEED, args.out / f"{datetime.now():%Y-%m-%d_%H-%M-%S}", extra)
    training.check()
    print(f"training in {training.folder}", file=sys.stderr)
    steps = steps_to(args.level, training, limit)
    check(steps, limit, args.level)
    outcome = f"allowed: {limit:,.0f}"
    if args.record:
        record(args.recorded, int(steps), args.level, extra)
        outcome = f"recorded in {args.recorded}"
    print(f"{PRESET}: {args.level:.0%} success after {steps:,.0f} env steps ({outcome})")


def steps_to(level: float, training: Training, limit: float = math.inf) -> float:
    """Trains until an evaluation reaches `level` or `limit` env steps; inf where none does."""
    process = training.start()
    try:
        while process.poll() is None and not is_decided(training.folder, level, limit):
            time.sleep(POLL_SECONDS)
    finally:
        stop([process])
    training.expect_success(process.returncode)
    return first_steps(training.folder, level)


def is_decided(folder: Path, level: float, limit: float) -> bool:
    """Whether the evaluations so far reach `level`, or can no longer within `limit` env steps."""
    if not (folder / EVALUATIONS).exists():
        return False
    return first_steps(folder, level) < math.inf or find_runs([folder])[0].env_steps[-1] >= limit


def first_steps(folder: Path, level: float) -> float:
    """Env steps of the first evaluation with at least that success; inf where there is none."""
    run = find_runs([folder])[0]
    first = run.first_reaching(level)
    return math.inf if first is None else float(run.env_steps[first])


def check(steps: float, limit: float, level: float) -> None:
    """Raise UserError if it took more than `limit` env steps, or never came about."""
    if steps == math.inf and limit == math.inf:
        raise UserError(f"{PRESET} ended without an evaluation of {level:.0%}; nothing to record")
    if steps > limit:
        took = "did not reach" if steps == math.inf else f"took {steps:,.0f} env steps to"
        raise UserError(
            f"{PRESET} {took} {level:.0%} success; {limit:,.0f} env steps are allowed, "
            f"{SLACK} times what is recorded"
        )


def recorded_steps(file: Path) -> int:
    if not file.exists():
        raise UserError(f"{file} does not exist; write it once with --record")
    try:
        return int(OmegaConf.load(file).env_steps)
    except (AttributeError, TypeError, ValueError, YAMLError) as error:
        raise UserError(
            f"{file} holds no env_steps ({error}); write it anew with --record"
        ) from error


def record(file: Path, env_steps: int, level: float, extra: Sequence[str] = ()) -> None:
    taken = {
        "env_steps": env_steps,
        "success": level,
        "preset": PRESET,
        "seed": SEED,
        "overrides": list(extra),
        "date": f"{datetime.now():%Y-%m-%d}",
        "machine": machine_line("torch", "mujoco"),
    }
    file.write_text(
        "# Written by `python benchmarks/nightly_guard.py --record`\n"
        + OmegaConf.to_yaml(OmegaConf.create(taken))
    )


if __name__ == "__main__":
    run_script(main)
