"""How a run ends: videos of its best and its last policy, and what to type next."""

import shlex
import shutil
from pathlib import Path
from typing import Any

from tqdm import tqdm

from robobase import evaluation, snapshot
from robobase.evaluation_video import EvaluationVideo

Run = Any  # a Workspace
BEST, LAST = "best", "last"  # names of the videos


def record_best_and_last(run: Run) -> None:
    """Write `eval_videos/best.mp4` and `last.mp4`, both of the first evaluation episode.

    Where videos are switched off nothing is done; without snapshots there is no best policy. The
    agent is left as it is.
    """
    wanted = run.cfg.log_eval_video and run.cfg.log_eval_video_every_n_evals
    if not wanted or run.eval_env is None:
        return
    videos = {f"{LAST}_rollout": _record(run, LAST)}
    best = run.snapshots.best
    if best.is_file() and best.samefile(run.snapshots.latest):
        folder = run.eval_video_recorder.save_dir
        if folder is not None and (folder / f"{LAST}.mp4").is_file():
            shutil.copyfile(folder / f"{LAST}.mp4", folder / f"{BEST}.mp4")
    elif best.is_file():
        weights = {key: value.clone() for key, value in run.agent.state_dict().items()}
        run.agent.load_state_dict(snapshot.read(best)["agent"])
        videos[f"{BEST}_rollout"] = _record(run, BEST)
        run.agent.load_state_dict(weights)
    shown = {name: video for name, video in videos.items() if video is not None}
    run.logger.log_metrics(shown, run.progress.env_steps, "eval")


def tell_best(run: Run) -> None:
    """Name the best snapshot, and the command that measures it."""
    best = run.snapshots.best
    if not best.is_file():
        return
    steps = snapshot.read(best)["progress"]["env_steps"]
    tqdm.write(f"best snapshot, of {steps:,} env steps: {_short(best)}")
    command = run.env_factory.evaluation_command(_short(best))
    if command:
        tqdm.write(f"to measure it: {shlex.join(command)}")


def _record(run: Run, name: str) -> dict[str, Any] | None:
    video = EvaluationVideo(run.eval_video_recorder, name, enabled=True, all_episodes=False)
    assert run.eval_env is not None
    steps = run.progress.env_steps
    evaluation.evaluate(run.agent, run.eval_env, 1, run.cfg.eval_seed, steps, on_step=video)
    return video.finish().get("eval_rollout")


def _short(path: Path) -> Path:
    """As seen from the working directory, where it lies in there."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
