"""`so101_robobase runs clean <folders>`: says what of runs can go, and removes it with --yes."""

import argparse
from typing import TYPE_CHECKING

from so101_robobase.base.arguments import add_input

if TYPE_CHECKING:
    from so101_robobase.experiments.retention import Removal

EXAMPLE = "so101_robobase runs clean runs/so101_lift"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    what = "the folder of a run; one of runs or of sweeps stands for all in it"
    add_input(parser, "runs", what, nargs="+", metavar="FOLDER")
    parser.add_argument("--yes", action="store_true", help="remove it; without, nothing is touched")


def run(args: argparse.Namespace) -> int:
    """Prints what can go, and with --yes removes it."""
    from robobase.run_record import Status
    from so101_robobase.evaluation.report import table
    from so101_robobase.experiments.retention import removal
    from so101_robobase.experiments.runs import find_runs
    from so101_robobase.experiments.sizes import freed, size

    found = find_runs(args.runs, say=lambda line: None, evaluated=False)
    plans = [plan for one in found if (plan := removal(one)).files]
    rows = [
        [
            str(plan.run.folder),
            str(plan.run.record.status),
            ", ".join(path.name.removesuffix("_snapshot.pt") for path in plan.snapshots) or "-",
            str(len(plan.leftovers) or "-"),
            size(freed(plan.files)),
        ]
        for plan in plans
    ]
    running = sum(one.record.status is Status.RUNNING for one in found)
    if running:
        print(f"left alone: {running} that {'is' if running == 1 else 'are'} running")
    if not rows:
        print(f"nothing to remove of {len(found)} runs: best and latest snapshots stay")
        return 0
    print(table(rows, ["run", "status", "old snapshots, at env steps", "leftovers", "frees"]))
    total = size(freed(path for plan in plans for path in plan.files))
    if not args.yes:
        print(f"{total} in all, of {len(plans)} runs. Nothing was removed; --yes does it")
        return 0
    removed = sum(_remove(plan) for plan in plans)
    print(f"removed {size(removed)}; best and latest snapshots are as they were")
    return 0


def _remove(plan: "Removal") -> int:
    """Bytes freed; none of a run that somebody took up meanwhile."""
    from robobase.errors import UserError
    from robobase.locks import FolderLock
    from so101_robobase.experiments.sizes import freed

    try:
        lock = FolderLock(plan.run.folder)
    except UserError as error:
        print(f"left alone: {error}")
        return 0
    with lock:
        files = [path for path in plan.files if path.exists()]
        taken = freed(files)
        for path in files:
            path.unlink()
    return taken
