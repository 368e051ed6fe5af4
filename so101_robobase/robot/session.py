"""One rollout from the command line: check, assemble, ask, run, report."""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robobase import compute
from robobase.errors import UserError
from so101_robobase.config import LiftConfig
from so101_robobase.control import num_actions
from so101_robobase.evaluation.policy import Policy, load_policy, run_folder
from so101_robobase.evaluation.report import prepare_output, table
from so101_robobase.evaluation.session import parse_overrides
from so101_robobase.evaluation.statistics import CONFIDENCE, wilson_interval
from so101_robobase.files import written_whole
from so101_robobase.kinematics import Kinematics
from so101_robobase.robot import alignment as alignments
from so101_robobase.robot.alignment import Alignment, Units
from so101_robobase.robot.arm import Arm
from so101_robobase.robot.arm_loop import CONTROL_PERIOD, NoWatchdog, Watchdog
from so101_robobase.robot.clearance import Clearance
from so101_robobase.robot.clock import Clock
from so101_robobase.robot.driver import Driver
from so101_robobase.robot.dry_run import DryRun
from so101_robobase.robot.episode_logger import EpisodeLogger
from so101_robobase.robot.events import EventLog
from so101_robobase.robot.keys import no_keys, terminal_keys
from so101_robobase.robot.monitor import Monitor, MonitorLimits
from so101_robobase.robot.policy import RobotPolicy
from so101_robobase.robot.records import Observer
from so101_robobase.robot.rollout import Result, Rollout, Settings
from so101_robobase.robot.rollout_command import EMULATED, REAL, SIM
from so101_robobase.robot.safety import SafetyFilter, SafetyLimits
from so101_robobase.robot.scenes import Scene
from so101_robobase.robot.sight import Sight
from so101_robobase.robot.start import start_pose
from so101_robobase.sim.observer import CHANNELS
from so101_robobase.sim.scene import build_scene
from so101_robobase.sim.sight import SCENE, SIMULATED


@dataclass
class Parts:
    """What differs between a real, a simulated and an emulated arm."""

    driver: Driver
    clock: Clock
    sight: Sight
    scene: Scene
    start_watchdog: Callable[[], Watchdog]  # called once the driver is connected
    monitor: MonitorLimits
    state: Callable[[], dict[str, Any]]  # what is known of the scene when an episode begins
    frame_size: tuple[int, int] | None  # height and width of the camera's frames
    what: str  # a line about it for people


Assemble = Callable[[argparse.Namespace, LiftConfig, Alignment, Path, ExitStack], Parts]


def run_rollout(args: argparse.Namespace) -> int:
    """Runs `args.snapshot` as the command line says; 0, or 1 where it was cut short.

    Raises:
        UserError: any argument that cannot be used, an arm or a camera that is not as it should;
            nothing has moved by then.
    """
    _check(args)
    device = compute.pick_device(num_gpus=1) if args.device == "auto" else args.device
    torch.set_num_threads(1)  # a step of the policy takes milliseconds; more threads add jitter
    overrides = parse_overrides(args.overrides)
    policy = load_policy(args.snapshot, device, overrides, args.trust)
    config = _task(args, policy)
    alignment = alignments.load(args.alignment) if args.alignment else Alignment()
    physics = build_scene(config.scene).model
    kinematics = Kinematics.from_model(physics)
    joint_range = physics.actuator_ctrlrange.copy()
    judge = args.display is not None or args.record is not None
    robot_policy = RobotPolicy(policy, kinematics, judge)
    start = start_pose(config)
    settings = Settings(
        num_episodes=args.num_episodes,
        episode_time=args.episode_time_s or config.episode_length * CONTROL_PERIOD,
        action_scale=args.action_scale,
        step=args.step,
        on_stop=args.on_stop,
    )
    with ExitStack() as resources:
        folder = prepare_output(args.output_dir or _default_folder(args.snapshot))
        events = resources.enter_context(EventLog(folder / "events.jsonl"))
        parts = _assemble(args, config, alignment, folder, resources)
        driver = DryRun(parts.driver) if args.dry_run else parts.driver
        safety = SafetyFilter(SafetyLimits(), joint_range, Clearance(physics))
        monitor = Monitor(parts.monitor)
        arm = Arm(driver, Units(alignment, joint_range), safety, monitor, parts.clock, events)
        observers = _observers(args, config, parts)
        _announce(args, parts, settings, start, folder)
        keys = resources.enter_context(terminal_keys()) if parts.scene.asks else no_keys
        rollout = Rollout(
            arm=arm,
            sight=parts.sight,
            policy=robot_policy,
            scene=parts.scene,
            kinematics=kinematics,
            start=start,
            settings=settings,
            observers=observers,
            logger=EpisodeLogger(folder, _meta(args, alignment), parts.state),
            start_watchdog=NoWatchdog if args.dry_run else parts.start_watchdog,
            keys=keys,
        )
        result = rollout.run()
    _report(folder, args, settings, result, events)
    return 1 if result.stopped or result.unconfirmed else 0


def _check(args: argparse.Namespace) -> None:
    if args.num_episodes < 1:
        raise UserError(f"--num_episodes {args.num_episodes} is too small; give 1 or more")
    if args.episode_time_s is not None and not 0 < args.episode_time_s <= 600:
        raise UserError(f"--episode_time_s {args.episode_time_s} must be above 0, at most 600")
    if not 0 < args.action_scale <= 1:
        raise UserError(f"--action_scale {args.action_scale} must be above 0 and at most 1")
    if args.robot == REAL:
        missing = [
            name for name in ("port", "camera", "calibration") if getattr(args, name) is None
        ]
        if missing:
            raise UserError(
                f"--robot real needs {', '.join(f'--{name}' for name in missing)}; "
                "to try without an arm use --robot sim or --robot emulated"
            )


def _task(args: argparse.Namespace, policy: Policy) -> LiftConfig:
    """The snapshot's task; a simulated arm and its camera are as the command line says."""
    config = LiftConfig.from_cfg(policy.cfg, evaluation=True)
    if args.robot == REAL:
        return config
    if args.depth not in (None, SCENE, SIMULATED) and args.segmentation is None:
        raise UserError("--depth with a network needs --segmentation with one too")
    sight = config.sight
    if args.segmentation is not None:
        sight = replace(sight, segmentation=args.segmentation)
    if args.depth is not None:
        sight = replace(sight, depth=args.depth)
    scene = config.scene
    if args.alignment is not None:
        scene = replace(scene, alignment=str(args.alignment))
    return replace(config, sight=sight, scene=scene)


def _assemble(
    args: argparse.Namespace,
    config: LiftConfig,
    alignment: Alignment,
    folder: Path,
    resources: ExitStack,
) -> Parts:
    if args.robot == SIM:
        from so101_robobase.robot.assemble_sim import assemble
    elif args.robot == EMULATED:
        from so101_robobase.robot.assemble_emulated import assemble
    else:
        from so101_robobase.robot.assemble_real import assemble
    return assemble(args, config, alignment, folder, resources)


def _meta(args: argparse.Namespace, alignment: Alignment) -> dict[str, Any]:
    return {
        "alignment": alignments.to_plain(alignment),
        "control_period": CONTROL_PERIOD,
        "snapshot": str(args.snapshot.resolve()),
        "source": args.robot,
    }


def _observers(args: argparse.Namespace, config: LiftConfig, parts: Parts) -> list[Observer]:
    observers: list[Observer] = []
    if args.record is not None:
        from so101_robobase.robot.dataset_recorder import DatasetRecorder

        size = config.image_size
        observers.append(
            DatasetRecorder(
                args.record,
                (CHANNELS[config.observation], size, size),
                num_actions(config.control),
                parts.frame_size,
                robot_type="so101_mujoco" if args.robot == SIM else "so101_follower",
            )
        )
    if args.display is not None:
        from so101_robobase.robot.display import RerunDisplay

        observers.append(RerunDisplay(args.display))
    return observers


def _announce(
    args: argparse.Namespace, parts: Parts, settings: Settings, start: np.ndarray, folder: Path
) -> None:
    degrees = " ".join(f"{angle:.0f}" for angle in np.rad2deg(start))
    print(f"arm: {parts.what}{', dry run: torque off, nothing is sent' if args.dry_run else ''}")
    print(f"start pose (degrees): {degrees}, reached slowly; then back to where the arm is now")
    print(
        f"{settings.num_episodes} episodes of {settings.episode_time:g} s, actions times "
        f"{settings.action_scale:g}; a fault or Esc: {settings.on_stop} the arm"
    )
    print(f"log and report: {folder}")
    if not parts.scene.asks:
        return
    print("keys: space pause, s success, f failure, r again, q quit slowly, Esc stop at once")
    if not args.yes:
        if not sys.stdin.isatty():
            raise UserError("nobody can be asked here; add --yes if a person watches the arm")
        input("Clear the arm's way, keep a hand on its power switch, and press Enter to begin: ")


def _report(
    folder: Path,
    args: argparse.Namespace,
    settings: Settings,
    result: Result,
    events: EventLog,
) -> None:
    judged = [outcome.success for outcome in result.outcomes if outcome.success is not None]
    rows = [["episodes", str(len(result.outcomes))]]
    summary: dict[str, Any] = {"episodes": len(result.outcomes), "judged": len(judged)}
    if judged:
        low, high = wilson_interval(sum(judged), len(judged))
        rows += [
            ["success", f"{sum(judged) / len(judged):.1%} ({sum(judged)} of {len(judged)})"],
            [f"{CONFIDENCE:.0%} interval (Wilson)", f"{low:.1%} to {high:.1%}"],
        ]
        summary |= {"successes": sum(judged), "success_interval": [low, high]}
    timing = result.timing
    if timing and args.robot != SIM:
        rows += [
            ["control ticks", f"{timing.ticks}, {timing.missed} left out"],
            ["tick late, ms (median, 99 %, most)", _triple(timing, "late")],
            ["tick work, ms (median, 99 %, most)", _triple(timing, "work")],
        ]
    rows += [[f"events: {kind}", str(count)] for kind, count in sorted(events.counts.items())]
    print(table(rows))
    record = {
        "snapshot": str(args.snapshot.resolve()),
        "robot": args.robot,
        "settings": asdict(settings),
        "summary": summary,
        "outcomes": [asdict(outcome) for outcome in result.outcomes],
        "stopped": result.stopped,
        "left": result.left,
        "unconfirmed": result.unconfirmed,
        "timing": asdict(timing) if timing else None,
        "events": events.counts,
    }
    with written_whole(folder / "rollout.json") as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n")
    if result.stopped:
        print(f"so101_robobase: stopped: {result.stopped}; the arm is {result.left}d")
    if result.unconfirmed:
        print(
            "so101_robobase: torque may still be on in "
            f"{', '.join(result.unconfirmed)}: switch the arm's power off",
            file=sys.stderr,
        )


def _triple(timing: Any, name: str) -> str:
    return ", ".join(f"{getattr(timing, f'{name}_{which}'):.1f}" for which in ("p50", "p99", "max"))


def _default_folder(snapshot: Path) -> Path:
    return run_folder(snapshot) / "rollouts" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
