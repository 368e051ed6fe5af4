"""`so101_robobase runs compare <run> <run> ...`: settings and evaluations side by side."""

import argparse
from pathlib import Path

from so101_robobase.base.arguments import add_input

EXAMPLE = "so101_robobase runs compare runs/so101_lift/a runs/so101_lift/b"

LEVELS = (0.90, 0.95)  # success rates whose first crossing the table names
_MOST_RUNS = 6  # side by side in the table of settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    what = "the folder of a run; one of runs or of sweeps stands for all in it"
    add_input(parser, "runs", what, nargs="+", metavar="run")
    parser.add_argument(
        "--output", type=Path, help="draw the curves of all into this .png, .pdf or .svg"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the tables, and writes the curves where asked."""
    from so101_robobase.base.files import checked_output
    from so101_robobase.evaluation.report import table
    from so101_robobase.experiments.curves_picture import SUFFIXES, draw_curves
    from so101_robobase.experiments.runs import find_runs, mixtures
    from so101_robobase.experiments.tables import comparison_rows, difference_rows, setting_rows

    output = args.output and checked_output(args.output, SUFFIXES)
    everything = find_runs(args.runs, evaluated=False)
    runs = [one for one in everything if one.is_evaluated]
    tables = [
        difference_rows(everything) if len(everything) <= _MOST_RUNS else [],
        comparison_rows(runs, LEVELS) if runs else [],
        setting_rows(runs, 0.9),
    ]
    for header, *rows in filter(None, tables):
        print(table(rows, header))
    for word in mixtures(everything):
        print(f"note: {word}")
    if not runs:
        print("no run has evaluated yet")
    elif output:
        draw_curves(runs, output)
        print(f"curves: {args.output}")
    return 0
