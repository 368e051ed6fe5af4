"""What injected faults do to rollouts of a policy on emulated servos.

python benchmarks/robot_faults.py [--faults 1000] [--seed 1] [--snapshot SNAPSHOT] [--output DIR]

One fault per rollout, of every kind the emulator knows, in random order, and of the camera and of
the loop's own process; 2 s each. The process is killed or stopped in one fault of 25. DIR gets
every rollout's log and faults.jsonl, one line per fault.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import numpy as np
from _audit import Findings
from _fault_plan import ALL, OF_PROCESS, HangingCamera, Planned, plan
from _fault_trials import ALLOWED, SOON, Report, try_fault, try_process
from _machine import machine_line
from _robot import POLICY, Loop, Rig
from _runs import command_line, markdown_table, run_script
from tqdm import tqdm

from robobase.errors import UserError
from so101_robobase.robot.rollout.policy_camera import PolicyCamera

HEADER = [
    "fault", "number", "struck", "recovered", "stopped", "refused", "commands", "outside limits",
    "on stale state", "worst, ms", "allowed", "too long", "torque left on", "not in the log",
]  # fmt: skip


def main(argv: list[str]) -> None:
    args = parse(argv)
    folder = args.output or Path(f"runs/benchmarks/robot_faults/{datetime.now():%Y-%m-%d_%H-%M-%S}")
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    reports = run(args.snapshot, plan(args.faults, args.seed), folder, args.seed)
    minutes = (time.perf_counter() - began) / 60
    print(
        f"{machine_line('lerobot', 'mujoco', 'torch')}; seed {args.seed}, {minutes:.0f} min\n\n"
        f"{markdown_table(HEADER, rows(reports))}\n\n{remarks(reports)}\nLogs: {folder}"
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of faults and cube positions")
    parser.add_argument("--snapshot", type=Path, default=POLICY)
    parser.add_argument("--output", type=Path, metavar="DIR")
    args = parser.parse_args(argv)
    if args.faults < 1:
        raise UserError("--faults must be 1 or more")
    return args


def run(snapshot: Path, faults: Sequence[Planned], folder: Path, seed: int) -> list[Report]:
    """One rollout per fault; logs in `folder`."""
    loop = Loop(snapshot)
    reports = []
    spoilt: list[HangingCamera] = []

    def corrupt(camera: PolicyCamera) -> PolicyCamera:
        spoilt.append(HangingCamera(camera))
        return spoilt[0]

    with (
        Rig(loop, folder, seed, corrupt) as rig,
        open(folder / "faults.jsonl", "w") as lines,
        tqdm(faults, unit="fault", disable=None) as bar,
    ):
        for number, planned in enumerate(bar):
            rig.bus.begin(seed + number)
            where = folder / f"{number:04d}"
            if planned.kind in OF_PROCESS:
                report = try_process(rig, planned, number, where, snapshot)
            else:
                report = try_fault(rig, spoilt[0], planned, number, where)
            reports.append(report)
            lines.write(json.dumps({**asdict(report), "planned": asdict(planned)}) + "\n")
            lines.flush()
    return reports


def rows(reports: Sequence[Report]) -> list[list[str]]:
    """One per kind, and their sum."""
    kinds = [kind for kind in ALL if _of(reports, kind)]
    table = [_row(kind, _of(reports, kind)) for kind in kinds]
    return [*table, [f"**{cell}**" for cell in _row("all", reports)]]


def _of(reports: Sequence[Report], kind: str) -> list[Report]:
    return [report for report in reports if report.kind == kind]


def _row(kind: str, reports: Sequence[Report]) -> list[str]:
    outcomes = [report.outcome for report in reports]
    findings = sum((report.findings for report in reports), Findings())
    outside = findings.stray + findings.outside + findings.fast + findings.low
    seconds = [report.seconds for report in reports if np.isfinite(report.seconds)]
    allowed = "" if kind == "all" else f"{1e3 * ALLOWED.get(kind, SOON):.0f}"

    def with_problem(start: str) -> str:
        return str(sum(any(p.startswith(start) for p in report.problems) for report in reports))

    return [
        kind,
        str(len(reports)),
        str(len(reports) - outcomes.count("not struck")),
        *(str(outcomes.count(name)) for name in ("recovered", "stopped", "refused")),
        f"{findings.commands:,}",
        str(outside),
        str(findings.stale),
        f"{1e3 * max(seconds, default=0):.0f}",
        allowed,
        with_problem("trouble"),
        with_problem("torque"),
        with_problem("not in"),
    ]


def remarks(reports: Sequence[Report]) -> str:
    """What the table does not say, and each breach by its number."""
    findings = sum((report.findings for report in reports), Findings())
    lines = [
        "Worst: longest time from a fault's first effect, or the last sign that all was well, to "
        "recovery or to torque off in all servos that can be reached; a servo that is unplugged or "
        "hears nothing can be reached from the end of that. Recovered, or not: by joints and "
        "torque, not by what the loop says.",
        f"{findings.goals:,} goals reached servos. Oldest joint state that a command was based on: "
        f"{1e3 * findings.oldest:.0f} ms. Positions that no joint had, spoilt with the right "
        f"check-sum: {findings.misread} commands.",
    ]
    lines += [
        f"- {report.number:04d} {report.kind} ({report.outcome}): {'; '.join(report.problems)}"
        for report in reports
        if report.problems
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
