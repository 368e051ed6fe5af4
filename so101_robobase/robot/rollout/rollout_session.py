"""One rollout from the command line: check, assemble, ask, run, report."""

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from robobase import compute
from robobase.errors import UserError
from robobase.run_snapshot import locate
from so101_robobase.arm import alignment as alignments
from so101_robobase.arm.alignment import Alignment
from so101_robobase.arm.control import CONTROL_PERIOD, num_actions
from so101_robobase.arm.joints import JOINTS
from so101_robobase.arm.kinematics import Kinematics
from so101_robobase.base.cli import INTERRUPTED
from so101_robobase.base.files import claimed, output_folder
from so101_robobase.evaluation.policy import Policy, load_policy
from so101_robobase.evaluation.session import parse_overrides
from so101_robobase.robot.loop.arm import assemble_arm
from so101_robobase.robot.loop.dry_run import DryRun
from so101_robobase.robot.loop.events import EventLog
from so101_robobase.robot.person.arm_arguments import REAL, SIM
from so101_robobase.robot.person.keys import has_keys, terminal_keys
from so101_robobase.robot.recording.background import MOST_WAITING, BackgroundListener
from so101_robobase.robot.recording.disk_space import check_disk_space
from so101_robobase.robot.recording.episode_logger import EpisodeLogger
from so101_robobase.robot.recording.last_pictures import LastPictures
from so101_robobase.robot.recording.records import records_per_second
from so101_robobase.robot.rollout.assemble import assemble
from so101_robobase.robot.rollout.robot_policy import RobotPolicy
from so101_robobase.robot.rollout.rollout import Rollout, RolloutSettings
from so101_robobase.robot.rollout.rollout_options import RolloutOptions
from so101_robobase.robot.rollout.rollout_report import (
    announce,
    ask_to_begin,
    report,
    was_interrupted,
)
from so101_robobase.robot.rollout.start_pose import start_pose
from so101_robobase.robot.safety.limits import load as load_limits
from so101_robobase.sim.sight import SCENE, SIMULATED
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.vision.kinds import KINDS, Source

CUT_SHORT = 1
"""Exit code of a rollout that did not come to its end."""


def run_rollout(options: RolloutOptions) -> int:
    """Runs `options.snapshot` as `options` say.

    Returns the exit code: 0, `CUT_SHORT` (also where a recording failed) or `INTERRUPTED`.

    Raises:
        UserError: any argument that cannot be used, an arm or a camera that is not as it should;
            nothing has moved by then.
    """
    options = replace(
        options,
        device=str(compute.usable_device(options.device)),
        snapshot=locate(options.snapshot),
    )
    if options.segmentation is None:  # a step of the policy takes milliseconds; threads add jitter
        torch.set_num_threads(1)
    overrides = _replaced(options) | parse_overrides(options.overrides)
    policy = load_policy(options.snapshot, options.device, overrides, options.trust)
    config = _task(options, policy)
    alignment = alignments.load(options.alignment) if options.alignment else Alignment()
    limits = load_limits(options.limits)
    scene = config.build_scene()
    if scene.arm.joint_names != JOINTS:
        raise UserError(
            f"env.scene.arm={config.scene.arm} has the joints {', '.join(scene.arm.joint_names)}; "
            "a rollout moves an SO-101"
        )
    physics, kinematics = scene.model, Kinematics.from_model(scene.model, scene.arm)
    judge = options.display is not None or options.record is not None
    robot_policy = RobotPolicy(policy, kinematics, judge)
    start = start_pose(config)
    settings = RolloutSettings(
        tell_steps=options.step or options.dry_run,
        num_episodes=options.num_episodes,
        episode_time=options.episode_time_s or config.episode_length * CONTROL_PERIOD,
        action_scale=options.action_scale,
        step=options.step,
        self_test=not options.no_self_test,
        on_stop=options.on_stop,
    )
    default = output_folder(options.snapshot) / "rollouts"
    marks = ("rollout.json", "events.jsonl"), "a rollout", "--output_dir"
    with claimed(options.output_dir, default, *marks) as folder, ExitStack() as resources:
        check_disk_space(folder)  # an arm that moves must not find the disk full
        events = resources.enter_context(EventLog(folder / "events.jsonl"))
        listeners = _listeners(options, config, folder, resources)
        parts = assemble(options, config, alignment, folder, resources)
        resources.callback(parts.stream.close)
        driver = DryRun(parts.arm.driver) if options.dry_run else parts.arm.driver
        arm = assemble_arm(driver, physics, parts.arm.clock, events, parts.arm.alignment, limits)
        if parts.workcell.asks:
            print("starting the camera and what looks at its pictures", flush=True)
            parts.stream.start()
        announce(options, parts.arm.what, parts.arm.hints, settings, start, folder, has_keys())
        if parts.workcell.asks and not options.yes:
            ask_to_begin(parts.arm.hints)
        rollout = Rollout(
            arm=arm,
            stream=parts.stream,
            policy=robot_policy,
            workcell=parts.workcell,
            kinematics=kinematics,
            start=start,
            settings=settings,
            listeners=listeners,
            logger=EpisodeLogger(folder, _meta(options, parts.arm.alignment), parts.state),
            start_watchdog=parts.arm.start_watchdog,
            hints=parts.arm.hints,
            keys=resources.enter_context(terminal_keys()),
        )
        result = rollout.run()
    written = report(options, settings, result, events, folder, parts.arm.hints)
    if was_interrupted(result):
        return INTERRUPTED
    failed = any(listener.failure is not None for listener in listeners)
    return CUT_SHORT if result.stopped or result.unconfirmed or failed or not written else 0


def _replaced(options: RolloutOptions) -> dict[str, Any]:
    """Overrides: what the snapshot names is not opened where the command line names its own."""
    neutral = {
        "segmentation": ("env.sight.segmentation", None),
        "depth": ("env.sight.depth", SCENE),
        "alignment": ("env.scene.alignment", None),
    }
    return dict(kept for name, kept in neutral.items() if getattr(options, name) is not None)


def _task(options: RolloutOptions, policy: Policy) -> TaskConfig:
    """The snapshot's task; a simulated arm and its camera are as the command line says."""
    config = policy.task()
    for name, what, source in (
        ("segmentation", "class ids", Source.IDS),
        ("depth", "disparity", Source.DISPARITY),
    ):
        if getattr(options, name) is not None and not KINDS[config.observation].sees(source):
            raise UserError(
                f"--{name} finds {what}, which this policy does not see "
                f"(observation={config.observation}); leave it out"
            )
    if options.robot == REAL:
        return config
    if options.depth not in (None, SCENE, SIMULATED) and options.segmentation is None:
        raise UserError("--depth with a network needs --segmentation with one too")
    sight = config.sight
    if options.segmentation is not None:
        sight = replace(sight, segmentation=options.segmentation)
    if options.depth is not None:
        sight = replace(sight, depth=options.depth)
    scene = config.scene
    if options.alignment is not None:
        scene = replace(scene, alignment=str(options.alignment))
    return replace(config, sight=sight, scene=scene)


def _listeners(
    options: RolloutOptions, config: TaskConfig, folder: Path, resources: ExitStack
) -> list[BackgroundListener]:
    listeners: list[BackgroundListener] = [LastPictures(folder)]
    resources.callback(listeners[-1].close)
    if options.record is not None:
        from so101_robobase.robot.recording.dataset_recorder import DatasetRecorder

        listeners.append(
            DatasetRecorder(
                options.record,
                KINDS[config.observation],
                config.image_size,
                num_actions(config.control),
                options.frame_size if options.robot == REAL else None,
                fps=records_per_second(config.action_repeat),
                task=config.INSTRUCTION,
                robot_type="so101_mujoco" if options.robot == SIM else "so101_follower",
                # A simulation may be quicker; nothing of it is left out.
                most_waiting=sys.maxsize if options.robot == SIM else MOST_WAITING,
            )
        )
        resources.callback(listeners[-1].close)
    if options.display is not None:
        from so101_robobase.robot.recording.display import RerunDisplay

        if options.robot == SIM:
            listeners.append(RerunDisplay(options.display, most_waiting=sys.maxsize))
        else:
            listeners.append(RerunDisplay(options.display))
        resources.callback(listeners[-1].close)
    return listeners


def _meta(options: RolloutOptions, alignment: Alignment) -> dict[str, Any]:
    return {
        "alignment": alignments.to_plain(alignment),
        "control_period": CONTROL_PERIOD,
        "snapshot": str(options.snapshot.resolve()),
        "source": options.robot,
    }
