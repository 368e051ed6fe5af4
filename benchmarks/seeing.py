"""What policies lose by seeing through networks rather than with the simulator's own eyes.

python benchmarks/seeing.py SNAPSHOT [SNAPSHOT ...] --segmentation CHECKPOINT
    [--depth simulated] [--size 320x240] [--num_episodes 100] [-- further=overrides]

Every policy plays the same episodes four times: on the scene as it is; with random looks; with
random looks seen through the networks; and so with random physics too. No corruption in any: the
networks bring their own mistakes.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _machine import machine_line
from _runs import command_line, markdown_table, run_script, split_overrides

from robobase.errors import UserError
from so101_robobase.base.arguments import parse_frame_size
from so101_robobase.evaluation.evaluate_command import FINAL_SEED
from so101_robobase.evaluation.policy import load_policy
from so101_robobase.evaluation.session import parse_overrides, play
from so101_robobase.evaluation.statistics import Summary, summarise
from so101_robobase.perception import parity_report
from so101_robobase.sim.randomization import PhysicalRandomization

WORLDS = ("as it is", "random looks", "through networks", "and random physics")


def main(argv: list[str]) -> None:
    own, extra = split_overrides(argv)
    args = parse(own)
    further = parse_overrides(extra, "what stands after --")
    rows = []
    for snapshot in args.snapshots:
        summaries = [
            _play(snapshot, {**world, **further}, args.num_episodes) for world in worlds(args)
        ]
        rows.append([_name(snapshot), *map(_score, summaries), _kept(summaries)])
    header = ["policy", *WORLDS, "kept through networks"]
    print(
        f"{machine_line('torch', 'mujoco')}\n\n{markdown_table(header, rows)}\n\n"
        f"{args.num_episodes} episodes from seed {FINAL_SEED}, stage and ranges of looks as each "
        "policy was trained, of physics as in docs/settings.md; 95 % Wilson interval. Kept: "
        "success through networks over success as it is."
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.add_argument("snapshots", nargs="+", type=Path, metavar="SNAPSHOT")
    parser.add_argument("--segmentation", required=True, metavar="CHECKPOINT")
    parser.add_argument("--depth", default="simulated", help="simulated, or a depth network")
    parser.add_argument("--size", default="320x240", help="of the frames that networks look at")
    parser.add_argument("--num_episodes", type=int, default=100)
    args = parser.parse_args(argv)
    if args.num_episodes < 1:
        raise UserError("--num_episodes must be 1 or more")
    return args


def worlds(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Overrides of a policy's config, in the order of `WORLDS`."""
    height, width = parse_frame_size(args.size)
    same = list(parity_report.worlds(args.segmentation, args.depth, (width, height)).values())
    physics = {
        f"env.randomization.physical.{name}": list(value) if isinstance(value, tuple) else value
        for name, value in asdict(PhysicalRandomization(enabled=True)).items()
    }
    return [*same, {**same[-1], **physics}]


def _play(snapshot: Path, overrides: Mapping[str, Any], num_episodes: int) -> Summary:
    policy = load_policy(snapshot, "cpu", overrides)
    return summarise(play(policy, num_episodes, seed=FINAL_SEED)[0])


def _score(summary: Summary) -> str:
    low, high = summary.success_interval
    return f"{summary.success_rate:.0%} ({low:.0%}–{high:.0%})"


def _kept(summaries: Sequence[Summary]) -> str:
    clean, _, seen, _ = (summary.success_rate for summary in summaries)
    return f"{seen / clean:.0%}" if clean else "–"


def _name(snapshot: Path) -> str:
    """The run's folder, or the file where it lies beside no run."""
    return snapshot.parent.parent.name if snapshot.parent.name == "snapshots" else snapshot.stem


if __name__ == "__main__":
    run_script(main)
