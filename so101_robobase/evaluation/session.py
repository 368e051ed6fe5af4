"""One evaluation from the command line: check, play, report, draw."""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from tqdm import tqdm

import so101_robobase
from robobase import compute
from robobase.errors import UserError
from robobase.evaluation import evaluate
from robobase.run_snapshot import locate
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.base.files import claimed, output_folder
from so101_robobase.evaluation import report
from so101_robobase.evaluation.failures import causes
from so101_robobase.evaluation.policy import TRAINED, Policy, load_policy
from so101_robobase.evaluation.recording import Recorder
from so101_robobase.evaluation.statistics import Episode, Summary, summarise
from so101_robobase.evaluation.videos import Videos, choose
from so101_robobase.sim.gl_context import GLUnavailableError
from so101_robobase.sim.views import Views, check_cameras
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.lift.config import LiftConfig

MOST_ENVS = 16  # simulations at once where --num_envs is not given


def run_evaluation(args: argparse.Namespace) -> tuple[Summary, Path]:
    """Evaluates `args.snapshot` as the command line says; returns the figures and the folder.

    Raises:
        UserError: any argument that cannot be used; nothing has been played by then.
    """
    device = compute.usable_device(args.device)
    args.snapshot = locate(args.snapshot)
    policy = load_policy(args.snapshot, device, _overrides(args), args.trust)
    task = policy.task()
    with ExitStack() as resources:
        videos = None if args.no_video or not args.num_videos else _videos(args, task, resources)
        default = output_folder(args.snapshot) / "evaluation"
        marks = ("evaluation.json",), "an evaluation", "--output_dir"
        folder = resources.enter_context(claimed(args.output_dir, default, *marks))
        stages = " and ".join(f"{weight:.0%} stage {n}" for n, weight in task.stage_weights)
        print(
            f"{args.snapshot}: {args.num_episodes} episodes from seed {args.seed}, {stages}, "
            f"reward {task.reward_version}, {task.observation}, {device}"
        )
        started = time.perf_counter()
        episodes, recorder = play(
            policy,
            args.num_episodes,
            seed=args.seed,
            num_envs=args.num_envs,
            num_tracks=args.num_videos if videos else 0,
        )
        seconds = time.perf_counter() - started
        summary = summarise(episodes)
        if args.debug:
            print(report.height_table(episodes))
            report.write_debug_csv(folder / "debug", episodes)
        print(report.summary_table(summary))
        why = causes(episodes, task.lift_height) if type(task) is LiftConfig else {}
        if why:
            print(report.failure_line(why))
        settings = _settings(args, task, recorder.num_envs, str(device), seconds)
        report.write_json(folder / "evaluation.json", settings, summary, episodes, why)
        print(f"{len(episodes)} episodes in {seconds:.1f} s; report: {folder / 'evaluation.json'}")
        if videos:
            chosen = choose(episodes, recorder.tracks, args.num_videos)
            for path in videos.write(folder, chosen, recorder.tracks):
                print(f"video: {path}")
    return summary, folder


def play(
    policy: Policy,
    num_episodes: int,
    seed: int,
    num_envs: int | None = None,
    num_tracks: int = 0,
    progress: bool = True,
) -> tuple[list[Episode], Recorder]:
    """Plays episodes from seeds `seed`, `seed + 1`, ...; keeps tracks for videos of some.

    Args:
        num_envs: simulations at once; None takes up to `MOST_ENVS`, the same in every wave.
        num_tracks: how many successes and how many failures to keep as tracks.
        progress: show a bar.
    """
    width = width_of(num_episodes, num_envs)
    with (
        closing(Recorder(policy.make_env(width), num_tracks)) as recorder,
        # Episodes end in bursts: their rate is that since the start, the steps are shown between.
        tqdm(
            total=num_episodes,
            desc="evaluate",
            unit="episode",
            smoothing=0,
            miniters=0,
            mininterval=0.1 if sys.stderr.isatty() else 10,  # s
            leave=False,
            disable=not progress,
        ) as bar,
    ):

        def on_step(env: Any, infos: dict[str, Any], playing: np.ndarray) -> None:
            recorder.on_step(env, infos, playing)
            bar.set_postfix_str(f"{recorder.steps:,} steps", refresh=False)
            bar.update(recorder.ended - bar.n)

        result = evaluate(
            policy.agent, recorder, num_episodes, seed=seed, step=TRAINED, on_step=on_step
        )
        episodes = recorder.episodes(result, seed)
    return episodes, recorder


def width_of(num_episodes: int, num_envs: int | None) -> int:
    """How many simulations play `num_episodes`: `num_envs`, by default up to `MOST_ENVS`."""
    waves = math.ceil(num_episodes / MOST_ENVS)
    return min(num_envs or math.ceil(num_episodes / waves), num_episodes)


def parse_overrides(words: Sequence[str], option: str = "--overrides") -> dict[str, Any]:
    """`key=value` words of Hydra as `load_policy` takes them; errors (UserError) name `option`."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(words))
    except hydra.errors.HydraException as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot read {option} ({reason}); write them as key=value") from error
    for override in parsed:
        if override.is_delete() or override.is_sweep_override():
            raise UserError(f"cannot use {option} {override.input_line}; give key=value, one value")
    return {override.key_or_group: override.value() for override in parsed}


def _overrides(args: argparse.Namespace) -> dict[str, Any]:
    overrides = parse_overrides(args.overrides)
    for name, key in (("stage", "env.eval_stage"), ("reward_version", "env.reward_version")):
        if getattr(args, name) is not None:
            overrides[key] = getattr(args, name)
    return overrides


def _videos(args: argparse.Namespace, task: TaskConfig, resources: ExitStack) -> Videos | None:
    """What draws the videos; without OpenGL only the policy's pictures, if it has any."""
    fps = 1 / (CONTROL_PERIOD * task.action_repeat)
    views = None
    scene = task.build_scene()
    check_cameras(scene, args.cameras)
    try:
        size = (args.frame_size, args.frame_size)
        views = Views(scene, size, reduced=not args.full_meshes)
        resources.callback(views.close)
    except GLUnavailableError as error:
        rest = "videos show the observation only" if task.pixels else "no videos"
        print(f"so101_robobase: {rest}: {error}", file=sys.stderr)
        if not task.pixels:
            return None
    return Videos(views, args.cameras, args.frame_size, task.observation, fps)


def _settings(
    args: argparse.Namespace, task: TaskConfig, num_envs: int, device: str, seconds: float
) -> dict[str, Any]:
    return {
        "snapshot": str(args.snapshot.resolve()),
        "stage": {str(stage): weight for stage, weight in task.stage_weights},
        "reward_version": task.reward_version,
        "observation": task.observation,
        "overrides": args.overrides,
        "seed": args.seed,
        "num_envs": num_envs,
        "device": device,
        "seconds": round(seconds, 3),
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "so101_robobase": so101_robobase.__version__,
    }
