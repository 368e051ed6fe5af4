"""A policy's success on the simulated and the emulated robot, against its plain evaluation.

python benchmarks/robot_success.py SNAPSHOT [--episodes 50] [--seed 10000000]
    [--segmentation CHECKPOINT [--depth simulated]] [--output DIR] [-- further=overrides]

The cubes lie where they lie in the evaluation. With --segmentation all three also play through
networks. The emulated robot runs in real time: about 7 s per episode.
"""

import argparse
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from _machine import machine_line
from _runs import command_line, markdown_table, run_script, split_overrides

from robobase.errors import UserError
from so101_robobase.evaluation.evaluate_command import FINAL_SEED
from so101_robobase.evaluation.policy import load_policy
from so101_robobase.evaluation.session import parse_overrides, play
from so101_robobase.evaluation.statistics import summarise, wilson_interval
from so101_robobase.robot.person.arm_arguments import EMULATED, SIM
from so101_robobase.robot.rollout import rollout_command

MARGIN = 0.05  # that success on the robot may be below the evaluation's
HEADER = ["pictures", "world", "success", "95 % interval", "stopped", "goal"]


@dataclass(frozen=True)
class Score:
    """Episodes of one world."""

    successes: int
    episodes: int
    stops: tuple[str, ...] = ()  # reasons of rollouts cut short; the episode counts as a failure

    @property
    def rate(self) -> float:
        return self.successes / self.episodes


def main(argv: list[str]) -> None:
    own, overrides = split_overrides(argv)
    args = parse(own, overrides)
    folder = (
        args.output or Path(f"runs/benchmarks/robot_success/{datetime.now():%Y-%m-%d_%H-%M-%S}")
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    ways: list[tuple[str, list[str]]] = [("simulator's", [])]
    if args.segmentation is not None:
        networks = ["--segmentation", args.segmentation, "--depth", args.depth]
        ways.append(("networks'", networks))
    table, stops = [], []
    for name, networks in ways:
        plain = evaluate(args, networks)
        table.append(cells(name, "evaluation", plain))
        for world in (SIM, EMULATED):
            score = roll_out(args, world, networks, folder / f"{world}-{len(networks)}")
            table.append(cells(name, f"--robot {world}", score, plain))
            stops += [f"- {name}, {world}: {reason}" for reason in score.stops]
    print(
        f"{machine_line('lerobot', 'mujoco', 'torch')}\n\n{markdown_table(HEADER, table)}\n\n"
        f"{args.snapshot}, cubes of evaluation seeds from {args.seed}; Wilson intervals. Goal: at "
        f"most {100 * MARGIN:.0f} points below the evaluation. A rollout that stopped is a failure "
        f"of its episode. {' '.join(overrides)} Logs: {folder}"
    )
    print("\n".join(stops))


def parse(argv: Sequence[str], overrides: Sequence[str] = ()) -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.add_argument("snapshot", type=Path, metavar="SNAPSHOT")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--seed", type=int, default=FINAL_SEED)
    parser.add_argument("--segmentation", metavar="CHECKPOINT")
    parser.add_argument("--depth", default="simulated", help="simulated, or a depth network")
    parser.add_argument("--output", type=Path, metavar="DIR")
    args = parser.parse_args(argv)
    if args.episodes < 1:
        raise UserError("--episodes must be 1 or more")
    args.overrides = list(overrides)
    return args


def evaluate(args: argparse.Namespace, networks: Sequence[str]) -> Score:
    """As `so101_robobase evaluate` does."""
    overrides = parse_overrides(args.overrides)
    if networks:
        overrides |= {"env.sight.segmentation": args.segmentation, "env.sight.depth": args.depth}
    policy = load_policy(args.snapshot, "cpu", overrides)
    summary = summarise(play(policy, args.episodes, args.seed)[0])
    return Score(summary.successes, summary.num_episodes)


def roll_out(args: argparse.Namespace, world: str, networks: Sequence[str], folder: Path) -> Score:
    """As `so101_robobase robot rollout` does; where it stops, the next episodes follow anew."""
    successes, done, stops = 0, 0, []
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "output.txt", "w") as output, redirect_stdout(output):
        while done < args.episodes:
            part = folder / f"from_{done:03d}"
            parser = argparse.ArgumentParser()
            rollout_command.configure(parser)
            words = [str(args.snapshot), "--robot", world, "--output_dir", str(part), *networks]
            words += ["--num_episodes", str(args.episodes - done), "--seed", str(args.seed + done)]
            words += ["--device", "cpu"]
            if args.overrides:
                words += ["--overrides", *args.overrides]
            rollout_command.run(parser.parse_args(words))
            report = json.loads((part / "rollout.json").read_text())
            outcomes = [outcome["success"] for outcome in report["outcomes"]]
            successes += sum(outcomes)
            done += len(outcomes)
            if report["stopped"] and done < args.episodes:
                stops.append(f"episode {done}: {report['stopped']}")
                done += 1
    return Score(successes, args.episodes, tuple(stops))


def cells(pictures: str, world: str, score: Score, plain: Score | None = None) -> list[str]:
    """One row of the table."""
    low, high = wilson_interval(score.successes, score.episodes)
    goal = "–"
    if plain is not None:
        least = plain.rate - MARGIN
        goal = f"≥ {least:.0%}: {'yes' if score.rate >= least - 1e-9 else 'no'}"
    return [
        pictures,
        world,
        f"{score.rate:.0%} ({score.successes} of {score.episodes})",
        f"{low:.0%}–{high:.0%}",
        str(len(score.stops)),
        goal,
    ]


if __name__ == "__main__":
    run_script(main)
