"""Whether trainings hold their peak: mean success over the second half against the peak.

python benchmarks/stability.py RUN [RUN ...]

RUN is a run folder, a folder of run folders (such as the --out of time_to_success.py), or a
pattern in quotes. Runs of one experiment_name are pooled.
"""

import glob
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from _runs import command_line, markdown_table, run_script

from robobase import stored_config
from robobase.errors import UserError
from so101_robobase.experiments.runs import EVALUATIONS, Run, find_runs

GOAL = 0.90
FEWEST_EVALUATIONS = 4  # fewer say nothing about a second half
HEADER = ["run", "env steps", "peak", "second half", "ratio", "final", f"ratio ≥ {GOAL:.2f}"]


@dataclass(frozen=True)
class Stability:
    """Success rates of one training, 0 to 1."""

    name: str
    group: str
    env_steps: float  # at the last evaluation
    peak: float
    second_half: float  # mean over evaluations from half of `env_steps` on
    ratio: float  # second half over peak; 0 for a run that never succeeded
    final: float


def main(argv: list[str]) -> None:
    parser = command_line(__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    results = [read(folder) for folder in run_folders(parser.parse_args(argv).runs)]
    print(markdown_table(HEADER, rows(results)))


def run_folders(patterns: Sequence[str]) -> list[Path]:
    """The run folders that `patterns` mean, each once."""
    folders: list[Path] = []
    for pattern in patterns:
        matches = [Path(match) for match in sorted(glob.glob(pattern)) if Path(match).is_dir()]
        for match in matches or [Path(pattern)]:
            below = sorted(file.parent for file in match.glob(f"*/{EVALUATIONS}"))
            folders += [match] if (match / EVALUATIONS).exists() or not below else below
    return list(dict.fromkeys(folders))


def read(folder: Path) -> Stability:
    """Raises UserError where there are no, or too few, evaluations."""
    run = find_runs([folder])[0]
    config = folder / "config.yaml"
    if not config.exists():
        return stability(run, folder.resolve().parent.name)
    return stability(run, stored_config.load(config)["experiment_name"])


def stability(run: Run, group: str) -> Stability:
    success, end = run.episode_success, float(run.env_steps[-1])
    if len(success) < FEWEST_EVALUATIONS:
        raise UserError(
            f"{run.name} has {len(success)} evaluations; {FEWEST_EVALUATIONS} are the fewest that "
            "show whether a peak is held: train longer or evaluate more often"
        )
    if np.isnan(success).any():
        raise UserError(f"{run.name} has evaluations without episode_success; leave it out")
    peak, late = float(success.max()), float(success[run.env_steps >= end / 2].mean())
    ratio = late / peak if peak else 0.0
    return Stability(run.name, group, end, peak, late, ratio, float(success[-1]))


def rows(results: Sequence[Stability]) -> list[list[str]]:
    """One row per run and, for a group of several, one of means."""
    table = []
    for group in dict.fromkeys(result.group for result in results):
        same = [result for result in results if result.group == group]
        table += [_row(one, "yes" if one.ratio >= GOAL else "no") for one in same]
        if len(same) > 1:
            figures = np.mean([astuple(one)[2:] for one in same], axis=0).tolist()
            mean = Stability(f"{group}, mean of {len(same)}", group, *figures)
            held = sum(one.ratio >= GOAL for one in same)
            table.append([f"**{cell}**" for cell in _row(mean, f"{held} of {len(same)}")])
    return table


def _row(one: Stability, verdict: str) -> list[str]:
    cells = [f"{one.env_steps:,.0f}", f"{one.peak:.1%}", f"{one.second_half:.1%}"]
    return [one.name, *cells, f"{one.ratio:.2f}", f"{one.final:.1%}", verdict]


if __name__ == "__main__":
    run_script(main)
