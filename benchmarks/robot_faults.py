"""What injected faults do to rollouts of a policy on emulated servos.

python benchmarks/robot_faults.py [--faults 1000] [--seed 1] [--snapshot SNAPSHOT] [--output DIR]

One fault per rollout, of every kind the emulator knows, in random order, and of the camera and of
the loop's own process; 2 s each. The process is killed or stopped in one fault of 25. DIR gets
every rollout's log and faults.jsonl, one line per fault.
"""

import argparse
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine_line
from _robot import CAMERA_INTERVAL, POLICY, Loop, Rig, StillEyes, StillScene
from _runs import markdown_table, run_script
from _trouble import Interval, Rollout, Torque, longest
from tqdm import tqdm

from robobase.errors import UserError
from so101_robobase.robot import watchdog
from so101_robobase.robot.audit import Findings, judge, judge_goals
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.faults import KINDS, Fault
from so101_robobase.robot.emulator.schedule import draw_schedule
from so101_robobase.robot.emulator.shared import GOAL
from so101_robobase.robot.events import EventLog
from so101_robobase.robot.lerobot_driver import LeRobotDriver
from so101_robobase.robot.monitor import STIFF_SERVOS
from so101_robobase.robot.ports import IDS
from so101_robobase.robot.rollout import Settings
from so101_robobase.robot.sight import BackgroundSight, Eyes, Picture

HANG, LOST, KILL, STOP = "camera hangs", "camera lost", "SIGKILL", "SIGSTOP"
OF_CAMERA, OF_PROCESS = (HANG, LOST), (KILL, STOP)
ONE_IN = 25  # faults concerns the process

SOON = 0.2  # s from a fault's first effect to recovery or torque off
ALLOWED = {
    # These hold first and stop when it lasts.
    "low_voltage": STIFF_SERVOS.voltage_stop + SOON,
    HANG: STIFF_SERVOS.frame_stop + SOON,
    KILL: 0.5,
    STOP: 0.5,
}
AT_CONNECT = ("model", "firmware")  # nobody asks for these later
STATES = ("overload", "overcurrent", "angle", "overheat", "low_voltage")  # lasting, of a servo
SAID = {"limited", "connected", "episode", "episode_over", "go"}  # without a fault as well

_GAP = 1.0  # s; faults last up to half of it
_CALM = 0.3  # s after a fault, for the loop to go on
_PATIENCE = 3.0  # s, for torque to go off
_LOADING = 120.0  # s, at most, for a process to load the policy


@dataclass(frozen=True)
class Planned:
    """One fault; `start` and `duration` in s."""

    kind: str
    start: float  # from the moment at which the arm is connected, or connecting
    duration: float
    fault: Fault | None  # for the emulator
    connecting: bool  # comes while the arm is being connected


@dataclass
class Report:
    """What came of one fault."""

    number: int
    kind: str
    outcome: str = "not struck"  # or recovered, stopped, refused
    seconds: float = 0.0  # of trouble
    logged: bool = True
    said: str = ""  # why it stopped
    problems: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of faults and cube positions")
    parser.add_argument("--snapshot", type=Path, default=POLICY)
    parser.add_argument("--output", type=Path, metavar="DIR")
    args = parser.parse_args(argv)
    if args.faults < 1:
        raise UserError("--faults must be 1 or more")
    return args


def plan(number: int, seed: int) -> list[Planned]:
    """`number` faults in random order, all kinds equally often but those of the process."""
    rng = np.random.default_rng(seed)
    of_process = [OF_PROCESS[k % 2] for k in range(number // ONE_IN)]
    others = [*KINDS, *OF_CAMERA]
    kinds = [*of_process, *(others[k % len(others)] for k in range(number - len(of_process)))]
    planned = []
    for kind in rng.permutation(kinds):
        start, duration = rng.uniform(0.05, 1.2), rng.uniform(0.05, _GAP / 2)
        if kind not in KINDS:
            # A kill may come before the watchdog is there; a camera may hang for longer.
            start = start - 0.05 if kind in OF_PROCESS else start
            longer = 2 * duration if kind == HANG else duration
            planned.append(Planned(str(kind), start, longer, None, False))
            continue
        fault = draw_schedule(int(rng.integers(2**31)), 1, _GAP, [str(kind)])[0]
        assert fault.duration is not None
        connecting = kind in AT_CONNECT or rng.random() < 0.1
        if kind in AT_CONNECT:
            start, fault = 0.0, replace(fault, duration=None)
        elif connecting:
            start = rng.uniform(0, 0.05)
        fault = replace(fault, start=round(start, 3))
        planned.append(Planned(str(kind), start, fault.duration or _GAP, fault, connecting))
    return planned


def run(snapshot: Path, faults: Sequence[Planned], folder: Path, seed: int) -> list[Report]:
    """One rollout per fault; logs in `folder`."""
    loop = Loop(snapshot)
    reports = []
    spoilt: list[FaultyEyes] = []

    def spoil(eyes: Eyes) -> Eyes:
        spoilt.append(FaultyEyes(eyes))
        return spoilt[0]

    with (
        Rig(loop, folder, seed, spoil) as rig,
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


class FaultyEyes:
    """Eyes that hang, or are lost, from `since` to `until`."""

    def __init__(self, eyes: Eyes):
        self._eyes = eyes
        self.heal()

    def heal(self) -> None:
        self.since, self.until, self.lost = np.inf, -np.inf, False
        self.struck: float | None = None

    def spoil(self, start: float, duration: float, lost: bool) -> None:
        self.since, self.lost = time.monotonic() + start, lost
        self.until = self.since + duration

    def open(self) -> None:
        self._eyes.open()

    def look(self) -> Picture:
        now = time.monotonic()
        if self.since <= now < self.until:
            self.struck = self.struck or now
            if self.lost:
                raise UserError("the camera is lost")
            time.sleep(self.until - now)
        return self._eyes.look()

    def close(self) -> None:
        self._eyes.close()


def try_fault(rig: Rig, eyes: FaultyEyes, planned: Planned, number: int, where: Path) -> Report:
    """A rollout during which one fault of bus, servos or camera comes."""
    bus, report = rig.bus, Report(number, planned.kind)
    injected: list[int] = []
    quits = np.inf

    def inject() -> None:
        nonlocal quits
        quits = time.monotonic() + planned.start + planned.duration + _CALM
        if planned.fault is None:
            eyes.spoil(planned.start, planned.duration, planned.kind == LOST)
        else:
            injected.extend(bus.inject(planned.fault))

    def start_watchdog() -> watchdog.Watchdog:
        if not planned.connecting:
            inject()
        return rig.start_watchdog()

    limp, seen = bus.state().limp.copy(), len(bus.events())
    witness = rig.witness(inject if planned.connecting else lambda: None)
    with EventLog(where.with_suffix(".jsonl")) as events:
        rollout = rig.loop.rollout(
            witness,
            rig.sight,
            rig.scene,
            Settings(num_episodes=100),
            events,
            start_watchdog,
            keys=lambda: "q" if time.monotonic() > quits else None,
        )
        stopped = None
        try:
            result = rollout.run()
            report.outcome = "stopped" if result.stopped else "recovered"
            report.said = result.stopped or ""
        except UserError as error:
            stopped, report.outcome, report.said = time.monotonic(), "refused", str(error)
    log = read_log(where.with_suffix(".jsonl"))
    if report.outcome == "stopped":
        stopped = next(event["time"] for event in log if event["kind"] == "stop")
    first, active = effect(rig, eyes, planned, injected)
    reachable = let_go(bus, planned, active)
    events_seen = bus.events()[seen:]
    goals = events_seen[events_seen["kind"] == GOAL]
    report.findings = judge(witness, goals, rig.loop.safety(), rig.loop.units)
    torque = Torque(events_seen, limp)
    if first is None:
        report.outcome = "not struck"
    else:
        seen_of = Rollout(witness, torque, holds(log), stopped, reachable)
        lasts = active if planned.kind in STATES else None
        report.seconds = longest(seen_of, first, lasts)
        since = [event for event in log if event["time"] >= first - 0.01]
        report.logged = report.outcome == "refused" or any(is_about_it(event) for event in since)
    finish(report, torque.all_off)
    recover(rig, eyes)
    return report


def effect(
    rig: Rig, eyes: FaultyEyes, planned: Planned, injected: Sequence[int]
) -> tuple[float | None, Interval | None]:
    """When the fault first struck (None: it never did), and from when to when it was there."""
    if planned.fault is None:
        return eyes.struck, None
    if not injected:
        return None, None
    entry = rig.bus.faults()[injected[0]]
    lasts = np.inf if planned.fault.duration is None else planned.fault.duration
    return entry["first"], (entry["begins"], entry["begins"] + lasts)


def let_go(bus: EmulatedBus, planned: Planned, active: Interval | None) -> float:
    """Wait for a fault that keeps servos from being told, then for torque; when that ended."""
    reachable = -np.inf
    if active is not None and is_out_of_reach(planned):
        reachable = active[1]
        time.sleep(max(0.0, reachable - time.monotonic()))
    gives_up = time.monotonic() + _PATIENCE
    while not bus.state().limp.all() and time.monotonic() < gives_up:
        time.sleep(0.005)
    return reachable


def is_out_of_reach(planned: Planned) -> bool:
    """Whether servos cannot be told anything while the fault lasts."""
    fault = planned.fault
    if fault is None or fault.kind not in ("unplug", "lose"):
        return False
    return fault.probability == 1 and fault.count is None


def recover(rig: Rig, eyes: FaultyEyes) -> None:
    """Nothing is left of the fault, and torque is off."""
    rig.bus.clear()
    eyes.heal()
    while not rig.bus.state().plugged:
        time.sleep(0.005)
    let_go_by_hand(rig)


def let_go_by_hand(rig: Rig) -> None:
    """Torque off where the loop and its watchdog have left it on."""
    if not rig.bus.state().limp.all():
        rig.driver.bus.open()
        rig.driver.release()
        rig.driver.close()


def try_process(rig: Rig, planned: Planned, number: int, where: Path, snapshot: Path) -> Report:
    """A rollout in a process of its own, which is killed or stopped."""
    bus, report = rig.bus, Report(number, planned.kind)
    log, watched = where.with_suffix(".jsonl"), where.with_suffix(".log")
    spawning = multiprocessing.get_context("spawn")
    ready, begin = spawning.Event(), spawning.Event()
    child = spawning.Process(
        target=play,
        args=(snapshot, bus.port, rig.calibration, log, watched, ready, begin),
        daemon=True,
    )
    child.start()
    if not ready.wait(_LOADING):
        raise RuntimeError(f"the rollout's process was not ready in {_LOADING:.0f} s")
    bus.begin(number)  # raised again: without torque it sinks to the table
    limp, seen = bus.state().limp.copy(), len(bus.events())
    begin.set()
    while bus.state().limp.all() and child.is_alive():
        time.sleep(0.002)
    time.sleep(planned.start)
    if bus.state().limp.all():
        report.said = "the rollout ended before it was struck"
        child.kill()
        child.join()
        return report
    assert child.pid is not None
    struck = time.monotonic()
    os.kill(child.pid, signal.SIGKILL if planned.kind == KILL else signal.SIGSTOP)
    while not bus.state().limp.all() and time.monotonic() < struck + _PATIENCE:
        time.sleep(0.002)
    if planned.kind == STOP:
        woken = time.monotonic()
        os.kill(child.pid, signal.SIGCONT)
        child.join(_PATIENCE)
        report.problems += after_waking(log, woken)
    child.kill()
    child.join()
    events_seen = bus.events()[seen:]
    torque = Torque(events_seen, limp)
    report.outcome = "stopped"
    off = torque.last_off if planned.kind == KILL else first_all_off(events_seen, limp, struck)
    report.seconds = off - struck
    report.logged = watched.exists() and "turning torque off" in watched.read_text()
    goals = events_seen[events_seen["kind"] == GOAL]
    report.findings = judge_goals(goals, rig.loop.safety(), free=struck)
    finish(report, torque.all_off)
    let_go_by_hand(rig)
    return report


def play(
    snapshot: Path, port: str, calibration: Path, log: Path, watched: Path, ready: Any, begin: Any
) -> None:
    """The process that is killed: a rollout of the policy on what it sees in one picture."""
    loop = Loop(snapshot)
    eyes = StillEyes(loop.config, loop.clock)
    driver = LeRobotDriver(port, calibration)
    ready.set()
    begin.wait()
    with EventLog(log) as events:
        loop.rollout(
            driver,
            BackgroundSight(eyes, loop.clock, CAMERA_INTERVAL),
            StillScene(),
            Settings(num_episodes=100),
            events,
            lambda: watchdog.Watchdog(port, IDS, log=watched),
        ).run()


def after_waking(log: Path, woken: float) -> list[str]:
    """What is wrong with a loop that finds its arm without torque after SIGCONT."""
    stops = [event["time"] for event in read_log(log) if event["kind"] == "stop"]
    if not stops:
        return ["went on after SIGCONT"]
    late = stops[0] - woken
    return [f"stopped {late:.2f} s after SIGCONT"] if late > SOON else []


def first_all_off(events: np.ndarray, limp: np.ndarray, since: float) -> float:
    """When all servos first were without torque after `since`; inf: never."""
    for end in range(len(events)):
        part = events[: end + 1]
        if part["time"][-1] >= since and (torque := Torque(part, limp)).all_off:
            return max(torque.last_off, since)
    return np.inf


def finish(report: Report, all_off: bool) -> None:
    """Write down every breach of what is promised."""
    problems, findings = report.problems, report.findings
    if report.seconds > ALLOWED.get(report.kind, SOON):
        problems.append(f"trouble for {report.seconds:.2f} s")
    if not all_off:
        problems.append("torque stayed on")
    for name in ("stray", "outside", "fast", "low", "stale"):
        if count := getattr(findings, name):
            problems.append(f"{name}: {count} commands")
    if not report.logged:
        problems.append("not in the log")


def read_log(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def holds(log: Sequence[dict[str, Any]]) -> list[Interval]:
    """From when to when the loop held."""
    intervals: list[Interval] = []
    begin = None
    for event in log:
        if event["kind"] == "hold" and begin is None:
            begin = event["time"]
        elif event["kind"] == "go" and begin is not None:
            intervals.append((begin, event["time"]))
            begin = None
    return [*intervals, (begin, np.inf)] if begin is not None else intervals


def is_about_it(event: dict[str, Any]) -> bool:
    """Whether an entry of the log tells of something amiss."""
    if event["kind"] == "released":
        return bool(event["unconfirmed"])
    if event["kind"] == "limited":
        return any("measured" in reason for reason in event["reasons"])
    return event["kind"] not in SAID


HEADER = [
    "fault", "number", "struck", "recovered", "stopped", "refused", "commands", "outside limits",
    "on stale state", "worst, ms", "allowed", "too long", "torque left on", "not in the log",
]  # fmt: skip


def rows(reports: Sequence[Report]) -> list[list[str]]:
    """One per kind, and their sum."""
    kinds = [kind for kind in (*KINDS, *OF_CAMERA, *OF_PROCESS) if _of(reports, kind)]
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
