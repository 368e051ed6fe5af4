"""How a run ends: videos of its best and its last policy, and what to type next."""

import shlex
import shutil
from pathlib import Path

from tqdm import tqdm

from robobase import command_line, snapshot
from robobase.callbacks import Callback, Run
from robobase.errors import UserError
from robobase.progress import ON_STOP
from robobase.signals import PRUNED, TIME_LIMIT

BEST, LAST = "best", "last"  # names of the videos


class Closing(Callback):
    """Videos, the best snapshot's name, the replay buffer of a stopped run, how to go on."""

    def on_end(self, run: Run) -> None:
        cfg = run.cfg
        if not run.stop or run.stop.reason == TIME_LIMIT:  # who stops a run is waiting
            record_best_and_last(run)
        if not cfg.save_snapshot:
            return
        tell_best(run)
        if run.stop.reason == PRUNED:
            return
        if run.stop and cfg.snapshot_replay == ON_STOP:
            try:  # once more, with what is large: it comes last
                run.save_snapshot(with_replay=True)
            except UserError as error:
                tqdm.write(f"the snapshot is left without the replay buffer: {error}")
        longer = "num_train_frames" if cfg.num_train_frames else "num_pretrain_steps"
        how = "to continue" if run.stop else f"to go on, with a larger {longer}"
        tqdm.write(f"{how}: {command_line.to_resume(run.snapshots.latest)}")


def record_best_and_last(run: Run) -> None:
    """Write `eval_videos/best.mp4` and `last.mp4`, both of the first evaluation episode.

    Where videos are switched off nothing is done; without snapshots there is no best policy. The
    agent is left as it is.
    """
    wanted = run.cfg.log_eval_video and run.cfg.log_eval_video_every_n_evals
    if not wanted or run.evaluator.env is None:
        return
    steps, film = run.progress.env_steps, run.evaluator.film
    videos = {f"{LAST}_rollout": film(run.agent, steps, LAST)}
    best = run.snapshots.best
    if best.is_file() and best.samefile(run.snapshots.latest):
        folder = run.evaluator.recorder.save_dir
        if folder is not None and (folder / f"{LAST}.mp4").is_file():
            shutil.copyfile(folder / f"{LAST}.mp4", folder / f"{BEST}.mp4")
    elif best.is_file():
        weights = {key: value.clone() for key, value in run.agent.state_dict().items()}
        run.agent.load_state_dict(snapshot.read(best)["agent"])
        videos[f"{BEST}_rollout"] = film(run.agent, steps, BEST)
        run.agent.load_state_dict(weights)
    shown = {name: video for name, video in videos.items() if video is not None}
    run.logger.log_metrics(shown, steps, "eval")


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


def _short(path: Path) -> Path:
    """As seen from the working directory, where it lies in there."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
