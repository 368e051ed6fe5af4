"""`so101_robobase report <runs or sweep folders>`: many runs on one page."""

import argparse
from pathlib import Path

from so101_robobase.base.arguments import add_input, add_number

EXAMPLE = "so101_robobase report runs/so101_lift_state"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    what = "the folder of a run, of a sweep, or one with such folders in it"
    add_input(parser, "runs", what, nargs="+", metavar="FOLDER")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/report.html"),
        help="the page (default: %(default)s)",
    )
    parser.add_argument("--csv", type=Path, help="a table of the runs too, for machines")
    parser.add_argument("--json", type=Path, help="runs and settings too, for machines")
    add_number(parser, "--most_mb", 1, 1000, "size of the page; videos are left out beyond", 20)


def run(args: argparse.Namespace) -> int:
    """Writes the page and prints the same tables."""
    from so101_robobase.base.files import checked_output, written_whole
    from so101_robobase.evaluation.report import table
    from so101_robobase.experiments.records import write_csv, write_json
    from so101_robobase.experiments.runs import find_runs, mixtures
    from so101_robobase.experiments.tables import comparison_rows, setting_rows

    output = checked_output(args.output, (".html",))
    tables = args.csv and checked_output(args.csv, (".csv",))
    record = args.json and checked_output(args.json, (".json",))
    runs = find_runs(args.runs, evaluated=False)
    evaluated = [run for run in runs if run.is_evaluated]
    if evaluated:
        for header, *rows in filter(
            None, (comparison_rows(evaluated, (0.9,)), setting_rows(evaluated, 0.9))
        ):
            print(table(rows, header))
    for word in mixtures(runs):
        print(f"note: {word}")

    from so101_robobase.experiments.page import page

    text, left_out = page(runs, args.most_mb * 10**6)
    with written_whole(output, own=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if tables:
        write_csv(tables, runs)
    if record:
        write_json(record, runs)
    for line in left_out:
        print(line)
    more = [str(path) for path in (args.csv, args.json) if path]
    size = output.stat().st_size / 1e6
    print(f"report of {len(runs)} runs: {', '.join([str(args.output), *more])} ({size:.1f} MB)")
    return 0
