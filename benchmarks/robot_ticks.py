"""How well the loop keeps its rate: a policy and LeRobot's driver on emulated servos.

python benchmarks/robot_ticks.py [--ticks 10000] [--seed 0] [--snapshot SNAPSHOT]
    [--segmentation CHECKPOINT [--depth simulated]]

Control ticks are 20 ms apart; the policy acts at every second. Without networks, pictures are the
simulator's; with --segmentation a second row has them made by networks in this process. Every
command that reached a servo is held against the limits.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from _audit import Findings, judge
from _machine import machine_line
from _robot import POLICY, Loop, Rig
from _runs import command_line, markdown_table, run_script

from robobase.errors import UserError
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.robot.emulator.shared import GOAL
from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.loop.ticker import Timing
from so101_robobase.robot.recording.records import PolicyTick
from so101_robobase.robot.rollout.rollout import RolloutSettings

SLACK = 0.20  # of the policy's period, that its 99th percentile may be longer
HEADER = [
    "pictures", "ticks", "left out", "late, ms", "work, ms", "policy's period, ms", "goal",
    "frame's age, ms", "reading to command, ms", "commands", "outside limits", "on stale state",
    "stops",
]  # fmt: skip


@dataclass
class Policing:
    """Listener: when the policy's commands were sent, and on what."""

    periods: list[float] = field(default_factory=list)  # s
    frame_age: list[float] = field(default_factory=list)  # s
    latency: list[float] = field(default_factory=list)  # s
    _latest: float | None = None

    def begin(self, episode: int) -> None:
        self._latest = None

    def tick(self, tick: PolicyTick) -> None:
        now = time.monotonic()
        if self._latest is not None:
            self.periods.append(now - self._latest)
        self._latest = now
        self.frame_age.append(tick.frame_age)
        self.latency.append(tick.latency)

    def end(self, success: bool | None, keep: bool) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class Row:
    """One way to make pictures."""

    name: str
    period: float  # s, of the policy
    timings: list[Timing] = field(default_factory=list)  # of one rollout each
    policing: Policing = field(default_factory=Policing)
    findings: Findings = field(default_factory=Findings)
    stops: Counter[str] = field(default_factory=Counter)
    slips: int = 0  # of the emulator

    @property
    def ticks(self) -> int:
        return sum(timing.ticks for timing in self.timings)


def main(argv: list[str]) -> None:
    args = parse(argv)
    ways: list[tuple[str | None, str | None]] = [(None, None)]
    if args.segmentation is not None:
        ways.append((args.segmentation, args.depth))
    table = [measure(args, segmentation, depth) for segmentation, depth in ways]
    print(
        f"{machine_line('lerobot', 'mujoco', 'torch')}; seed {args.seed}\n\n"
        f"{markdown_table(HEADER, [cells(row) for row in table])}\n\n{remarks(table)}"
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.add_argument("--ticks", type=int, default=10_000, help="of control")
    parser.add_argument("--seed", type=int, default=0, help="of cube positions")
    parser.add_argument("--snapshot", type=Path, default=POLICY)
    parser.add_argument("--segmentation", metavar="CHECKPOINT")
    parser.add_argument("--depth", default="simulated", help="simulated, or a depth network")
    args = parser.parse_args(argv)
    if args.ticks < 1:
        raise UserError("--ticks must be 1 or more")
    return args


def measure(args: argparse.Namespace, segmentation: str | None, depth: str | None) -> Row:
    """Rollouts, mostly one, until there are `args.ticks`."""
    loop = Loop(args.snapshot, segmentation, depth)
    name = "simulator's" if segmentation is None else f"{Path(segmentation).stem}, depth {depth}"
    row = Row(name, loop.config.action_repeat * CONTROL_PERIOD)
    with TemporaryDirectory() as folder, Rig(loop, Path(folder), args.seed) as rig:
        while row.ticks < args.ticks and sum(row.stops.values()) < 20:
            _rollout(rig, row, args.ticks - row.ticks, Path(folder))
        row.slips = rig.bus.state().slips
    return row


def _rollout(rig: Rig, row: Row, ticks: int, folder: Path) -> None:
    rig.bus.begin(0)  # held up: without torque the arm has sunk since
    seen, asked = len(rig.bus.events()), 0

    def keys() -> str | None:  # once per tick
        nonlocal asked
        asked += 1
        return "q" if asked > ticks else None

    witness = rig.witness()
    with EventLog(folder / "events.jsonl") as events:
        rollout = rig.loop.rollout(
            witness,
            rig.stream,
            rig.workcell,
            RolloutSettings(num_episodes=10**6),
            events,
            rig.start_watchdog,
            [row.policing],
            keys,
        )
        result = rollout.run()
    if result.stopped:
        row.stops[result.stopped] += 1
    if result.timing is not None:
        row.timings.append(result.timing)
    happened = rig.bus.events()[seen:]
    goals = happened[happened["kind"] == GOAL]
    row.findings += judge(witness, goals, rollout.arm.safety, rollout.arm.units)


def cells(row: Row) -> list[str]:
    """One row of the table."""
    found, policing = row.findings, row.policing
    outside = found.stray + found.outside + found.fast + found.low
    return [
        row.name,
        f"{row.ticks:,}",
        str(sum(timing.missed for timing in row.timings)),
        _of_timings(row.timings, "late"),
        _of_timings(row.timings, "work"),
        _percentiles(policing.periods),
        goal(policing.periods, row.period),
        _percentiles(policing.frame_age),
        _percentiles(policing.latency),
        f"{found.commands:,}",
        str(outside),
        str(found.stale),
        str(sum(row.stops.values())),
    ]


def goal(periods: Sequence[float], period: float) -> str:
    """Whether the 99th percentile is within `SLACK` of the period."""
    most = (1 + SLACK) * period
    met = len(periods) > 0 and np.percentile(periods, 99) <= most
    return f"p99 ≤ {1e3 * most:.0f}: {'yes' if met else 'no'}"


def remarks(table: Sequence[Row]) -> str:
    lines = ["Times: median, 99th percentile, longest; of several rollouts the worst."]
    for row in table:
        lines.append(
            f"{row.name}: oldest joint state of a command {1e3 * row.findings.oldest:.0f} ms; the "
            f"emulator fell behind the clock {row.slips} times."
        )
        lines += [f"- {count} times: {reason}" for reason, count in row.stops.items()]
    return "\n".join(lines)


def _percentiles(seconds: Sequence[float]) -> str:
    if not seconds:
        return "–"
    return ", ".join(f"{1e3 * value:.1f}" for value in np.percentile(seconds, [50, 99, 100]))


def _of_timings(timings: Sequence[Timing], name: str) -> str:
    worst = [
        max((getattr(timing, f"{name}_{which}") for timing in timings), default=np.nan)
        for which in ("p50", "p99", "max")
    ]
    return ", ".join(f"{value:.1f}" for value in worst)


if __name__ == "__main__":
    run_script(main)
