"""`so101_robobase runs [FOLDER]`: the runs there, newest first, those of a sweep together."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from so101_robobase.base.arguments import add_input

if TYPE_CHECKING:
    from so101_robobase.experiments.runs import Run

EXAMPLE = "so101_robobase runs list runs/so101_lift"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    what, default = "a folder of runs", Path("runs")
    help = f"{what} (default: %(default)s)"
    add_input(parser, "folder", what, help, nargs="?", default=default, metavar="FOLDER")


def run(args: argparse.Namespace) -> int:
    """Prints the table."""
    from so101_robobase.evaluation.report import table
    from so101_robobase.experiments.runs import read_run, run_folders
    from so101_robobase.experiments.sizes import size

    header = ["run", "status", "task", "step", "success", "age", "size"]
    groups: dict[Path, list[Run]] = {}
    for folder in run_folders(args.folder):
        found = read_run(folder)
        groups.setdefault(_sweep_of(folder) or folder, []).append(found)
    rows, total, number = [], 0, 0
    for group, runs in sorted(groups.items(), key=lambda pair: _newest(pair[1]), reverse=True):
        is_sweep = runs[0].folder != group
        if is_sweep:
            rows.append([str(group), _states(runs), *[""] * 5])
        for one in runs:
            row, taken = _row(one, f"  {one.folder.relative_to(group)}" if is_sweep else str(group))
            rows.append(row)
            total, number = total + taken, number + 1
    print(table(rows, header))
    print(f"{number} {'run' if number == 1 else 'runs'}, {size(total)}")
    return 0


def _sweep_of(folder: Path) -> Path | None:
    """The sweep that a run's folder lies in."""
    from robobase.sweep_jobs import INDEX, MULTIRUN

    marks = (MULTIRUN, INDEX)
    parents = list(folder.parents)[:3]
    return next((p for p in parents if any((p / mark).exists() for mark in marks)), None)


def _newest(runs: "list[Run]") -> str:
    return max(one.record.updated or "" for one in runs)


def _states(runs: "list[Run]") -> str:
    states = [str(one.record.status) for one in runs]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _row(one: "Run", name: str) -> tuple[list[str], int]:
    """The row of a run, and its bytes on disk."""
    from so101_robobase.experiments.sizes import age, folder_size, size

    record, taken = one.record, folder_size(one.folder)
    share = (
        f" ({record.env_steps / record.num_train_frames:.0%})" if record.num_train_frames else ""
    )
    success = f"{one.episode_success[one.best]:.1%}" if one.is_evaluated else "-"
    row = [
        name,
        str(record.status),
        one.task or "-",
        f"{record.env_steps:,}{share}",
        success.replace("nan%", "-"),
        age(record.updated),
        size(taken),
    ]
    return row, taken
