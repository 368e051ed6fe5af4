"""One fault, one rollout: what was done, what the servos saw, and whether that is as promised."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _audit import Findings, judge, judge_goals
from _fault_plan import HANG, KILL, LOST, STOP, HangingCamera, Planned, is_out_of_reach
from _robot import CAMERA_INTERVAL, Loop, Rig, StillCamera, StillWorkcell
from _trouble import Course, Interval, Torque, longest

from robobase.errors import UserError
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.faults import CAMERA
from so101_robobase.robot.emulator.shared import GOAL
from so101_robobase.robot.loop.arm import assemble_arm
from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.real.lerobot_driver import LeRobotDriver
from so101_robobase.robot.real.ports import IDS
from so101_robobase.robot.rollout.picture_stream import BackgroundPictures
from so101_robobase.robot.rollout.rollout import RolloutSettings
from so101_robobase.robot.safety import watchdog
from so101_robobase.robot.safety.monitor import MonitorLimits

SOON = 0.2  # s from a fault's first effect to recovery or torque off
ALLOWED = {
    # These hold first and stop when it lasts.
    "low_voltage": MonitorLimits().voltage_stop + SOON,
    HANG: MonitorLimits().frame_stop + SOON,
    # Every second or third is told after as many; frozen ones when the arm has moved.
    **dict.fromkeys(CAMERA, MonitorLimits().frame_stop + 2 * SOON),
    KILL: 0.5,
    STOP: 0.5,
}
STATES = ("overload", "overcurrent", "angle", "overheat", "low_voltage")  # lasting, of a servo
SAID = {"limited", "connected", "episode", "episode_over", "go"}  # without a fault as well

_CALM = 0.3  # s after a fault, for the loop to go on
_PATIENCE = 3.0  # s, for torque to go off
_LOADING = 120.0  # s, at most, for a process to load the policy
_POLL = 0.1  # s


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


def try_fault(
    rig: Rig, camera: HangingCamera, planned: Planned, number: int, where: Path
) -> Report:
    """A rollout during which one fault of bus, servos or camera comes."""
    bus, report = rig.bus, Report(number, planned.kind)
    injected: list[int] = []
    quits = np.inf

    def inject() -> None:
        nonlocal quits
        quits = time.monotonic() + planned.start + planned.duration + _CALM
        if planned.fault is None:
            camera.corrupt(planned.start, planned.duration, planned.kind == LOST)
        else:
            injected.extend(bus.inject(planned.fault))

    def start_watchdog() -> watchdog.WatchdogProcess:
        if not planned.connecting:
            inject()
        return rig.start_watchdog()

    limp, seen = bus.state().limp.copy(), len(bus.events())
    witness = rig.witness(inject if planned.connecting else lambda: None)
    with EventLog(where.with_suffix(".jsonl")) as events:
        rollout = rig.loop.rollout(
            witness,
            rig.stream,
            rig.workcell,
            RolloutSettings(num_episodes=100),
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
    first, active = effect(rig, camera, planned, injected)
    reachable = await_torque_off(bus, planned, active)
    events_seen = bus.events()[seen:]
    goals = events_seen[events_seen["kind"] == GOAL]
    report.findings = judge(witness, goals, rollout.arm.safety, rollout.arm.units)
    torque = Torque(events_seen, limp)
    if first is None:
        report.outcome = "not struck"
    else:
        if report.outcome == "refused" and stopped is not None:
            stopped = min(stopped, torque.last_off)  # then it still asked servos for their answer
        seen_of = Course(witness, torque, holds(log), stopped, reachable)
        lasts = active if planned.kind in STATES else None
        report.seconds = longest(seen_of, first, lasts)
        since = [event for event in log if event["time"] >= first - 0.01]
        report.logged = report.outcome == "refused" or any(
            is_about_it(event, planned.kind) for event in since
        )
    finish(report, torque.all_off)
    recover(rig, camera)
    return report


def effect(
    rig: Rig, camera: HangingCamera, planned: Planned, injected: Sequence[int]
) -> tuple[float | None, Interval | None]:
    """When the fault first struck (None: it never did), and from when to when it was there."""
    if planned.fault is None:
        return camera.struck, None
    if not injected:
        return None, None
    entry = rig.bus.faults()[injected[0]]
    lasts = np.inf if planned.fault.duration is None else planned.fault.duration
    return entry["first"], (entry["begins"], entry["begins"] + lasts)


def await_torque_off(bus: EmulatedBus, planned: Planned, active: Interval | None) -> float:
    """Wait for a fault that keeps servos from being told, then for torque; when that ended."""
    reachable = -np.inf
    if active is not None and is_out_of_reach(planned):
        reachable = active[1]
        time.sleep(max(0.0, reachable - time.monotonic()))
    gives_up = time.monotonic() + _PATIENCE
    while not bus.state().limp.all() and time.monotonic() < gives_up:
        time.sleep(0.005)
    return reachable


def recover(rig: Rig, camera: HangingCamera) -> None:
    """Nothing is left of the fault, and torque is off."""
    rig.bus.clear()
    camera.heal()
    while not rig.bus.state().plugged:
        time.sleep(0.005)
    turn_torque_off(rig)


def turn_torque_off(rig: Rig) -> None:
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
    gives_up = time.monotonic() + _LOADING
    while not ready.wait(_POLL):
        if not child.is_alive() or time.monotonic() > gives_up:
            child.kill()
            raise RuntimeError("the rollout's process did not start")
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
        was_off, woken = bus.state().limp.all(), time.monotonic()
        os.kill(child.pid, signal.SIGCONT)
        child.join(_PATIENCE)
        report.problems += after_waking(log, woken) if was_off else []
    child.kill()
    child.join()
    events_seen = bus.events()[seen:]
    torque = Torque(events_seen, limp)
    report.outcome = "stopped"
    off = torque.last_off if planned.kind == KILL else first_all_off(events_seen, limp, struck)
    report.seconds = off - struck
    report.logged = watched.exists() and "turning torque off" in watched.read_text()
    goals = events_seen[events_seen["kind"] == GOAL]
    safety = assemble_arm(rig.driver, rig.loop.physics, rig.loop.clock).safety
    report.findings = judge_goals(goals, safety, free=struck)
    finish(report, torque.all_off)
    turn_torque_off(rig)
    return report


def play(
    snapshot: Path, port: str, calibration: Path, log: Path, watched: Path, ready: Any, begin: Any
) -> None:
    """The process that is killed: a rollout of the policy on what it sees in one picture."""
    loop = Loop(snapshot)
    camera = StillCamera(loop.config, loop.clock)
    driver = LeRobotDriver(port, calibration)
    ready.set()
    begin.wait()
    with EventLog(log) as events:
        loop.rollout(
            driver,
            BackgroundPictures(camera, loop.clock, CAMERA_INTERVAL),
            StillWorkcell(),
            RolloutSettings(num_episodes=100),
            events,
            lambda: watchdog.WatchdogProcess(port, IDS, log=watched),
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


def is_about_it(event: dict[str, Any], kind: str) -> bool:
    """Whether an entry of the log tells of something amiss, such as a fault of `kind`."""
    if event["kind"] == "same_frame":
        return kind == HANG  # a busy machine misses a frame as well
    if event["kind"] == "released":
        return bool(event["unconfirmed"])
    if event["kind"] == "limited":
        return any("measured" in reason for reason in event["reasons"])
    return event["kind"] not in SAID
