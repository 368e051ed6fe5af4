"""`so101_robobase runs show <run>`: what one run is, how far it came, and what it left."""

import argparse
from typing import TYPE_CHECKING

from so101_robobase.base.arguments import add_input

if TYPE_CHECKING:
    from so101_robobase.experiments.runs import Run

EXAMPLE = "so101_robobase runs show runs/so101_lift/2026-12-01_10-00-00"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_input(parser, "folder", "the folder of a run", metavar="RUN")


def run(args: argparse.Namespace) -> int:
    """Prints the tables."""
    from robobase.errors import UserError, one_line
    from so101_robobase.evaluation.report import table
    from so101_robobase.experiments.runs import is_run, read_run

    if not is_run(args.folder):
        raise UserError(f"{args.folder} is no run's folder; `so101_robobase runs` lists them")
    found = read_run(args.folder)
    for key, value in _about(found).items():
        print(f"{key:<16} {one_line(value or '-')}")
    if found.is_evaluated:
        from so101_robobase.experiments.tables import comparison_rows

        header, row = comparison_rows([found], (0.9, 0.95))
        print(table([row[1:]], header[1:]))
    for remark in found.remarks:
        print(f"note: {remark}")
    return 0


def _about(found: "Run") -> dict[str, str | None]:
    from robobase import run_snapshot
    from so101_robobase.experiments.sizes import age, folder_size, freed, size
    from so101_robobase.experiments.versions import versions_of

    record, versions = found.record, versions_of(found.folder)
    folder = found.folder / run_snapshot.FOLDER
    snapshots = list(folder.glob(f"*{run_snapshot.SUFFIX}"))
    best, latest = folder / run_snapshot.BEST, run_snapshot.latest(found.folder)
    return {
        "folder": str(found.folder),
        "status": f"{record.status}: {record.reason}" if record.reason else str(record.status),
        "task": found.task,
        "observation": found.observation,
        "given": " ".join(f"{key}={value}" for key, value in found.overrides.items()),
        "env steps": f"{record.env_steps:,} of {record.num_train_frames:,}",
        "time": None if record.seconds is None else f"{record.seconds:,.0f} s",
        "began": record.started,
        "last written": f"{record.updated} ({age(record.updated)})" if record.updated else None,
        "size": size(folder_size(found.folder)),
        "snapshots": f"{len(snapshots)}, {size(freed(snapshots))}",
        "best snapshot": str(best) if best.is_file() else None,
        "latest snapshot": None if latest is None else str(latest),
        "machine": " ".join(filter(None, (versions.cpu, versions.cores, versions.gpus))),
        "versions": ", ".join(f"{name} {number}" for name, number in versions.packages if number),
        "commit": versions.commit,
    }
