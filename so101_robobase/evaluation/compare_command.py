"""`so101_robobase compare <run> [<run> ...]`: table and curves of several runs' evaluations."""

import argparse
from pathlib import Path

from so101_robobase.base.arguments import Input

LEVELS = (0.90, 0.95)  # success rates whose first crossing the table names


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "runs",
        nargs="+",
        action=Input,
        what="the folder of a run or of a multirun",
        metavar="run",
        help="folder of a training run; a folder of runs or of multiruns stands for all in it",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/comparison.png"),
        help="where to write the curves (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the tables and writes the curves."""
    from so101_robobase.base.files import checked_output
    from so101_robobase.evaluation.comparison import comparison_rows, find_runs, setting_rows
    from so101_robobase.evaluation.comparison_curves import SUFFIXES, draw_curves
    from so101_robobase.evaluation.report import table

    output = checked_output(args.output, SUFFIXES)
    runs = find_runs(args.runs)
    for header, *rows in filter(None, (comparison_rows(runs, LEVELS), setting_rows(runs, 0.9))):
        print(table(rows, header))
    draw_curves(runs, output)
    print(f"curves: {args.output}")
    return 0
