"""What happens in a run beside collecting and learning: a seam, and what every run has there.

`Workspace(cfg, callbacks=[...])` adds to `Logging`, `Bar`, `Evaluation`, `Snapshots`, `Closing` and
`Record`, which are called in this order, and before those that are added.
"""

import contextlib
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig

from robobase import run_folder, run_record
from robobase.envs.env import EnvFactory
from robobase.errors import one_line
from robobase.evaluator import Evaluator
from robobase.locks import FolderLock
from robobase.logger import Logger
from robobase.method.core import Method, Metrics
from robobase.progress import Progress
from robobase.progress_bar import ProgressBar
from robobase.replay_buffer.uniform_replay_buffer import UniformReplayBuffer
from robobase.rollout import EpisodeTracker, Rates
from robobase.run_record import RunRecord, Status
from robobase.signals import PRUNED, StopRequest
from robobase.snapshot import SnapshotKeeper


class Run(Protocol):
    """What callbacks may use of a `Workspace`."""

    cfg: DictConfig
    env_factory: EnvFactory
    agent: Method
    progress: Progress
    episodes: EpisodeTracker
    replay_buffer: UniformReplayBuffer
    demo_replay_buffer: UniformReplayBuffer | None
    evaluator: Evaluator
    snapshots: SnapshotKeeper
    logger: Logger
    stop: StopRequest  # true as soon as the run is to end early

    @property
    def stride(self) -> int: ...

    def total_time(self) -> float: ...

    def due(self, every: int | None) -> bool: ...

    def evaluate(self, prefix: str = "eval") -> None: ...

    def save_snapshot(self, best: bool = False, with_replay: bool | None = None) -> None: ...


class Callback:
    """Is told what happens in a run; derive from it and override what is of interest."""

    def on_begin(self, run: Run) -> None:
        """`train()` begins, with loading demonstrations and pre-training."""

    def on_pretrain_step(self, run: Run, metrics: Metrics) -> None:
        """One update on demonstrations; metrics are empty unless `run.agent.logging`."""

    def on_online_begin(self, run: Run) -> None:
        """The environments stand at their first step, or where a snapshot put them."""

    def on_step(self, run: Run, metrics: Metrics) -> None:
        """Every environment made one step, and the agent learnt from it.

        `metrics` are empty, or incomplete, unless `run.agent.logging`.
        """

    def on_evaluation(self, run: Run, metrics: Metrics, prefix: str) -> None:
        """An evaluation ended: `eval`, or `pretrain_eval` while pre-training."""

    def on_snapshot(self, run: Run, path: Path) -> None:
        """A snapshot was written."""

    def on_end(self, run: Run) -> None:
        """All steps are done, or `run.stop` says why not; after an error it is not called."""

    def on_error(self, run: Run, error: BaseException) -> None:
        """An error, or a signal that does not wait, ends the run."""

    def on_shutdown(self, run: Run) -> None:
        """The run is over, in whatever way; perhaps for the second time."""


class Logging(Callback):
    """Tables, console and whatever else the logger writes to.

    Raises:
        UserError: the run folder was removed or renamed meanwhile.
    """

    def __init__(self, lock: FolderLock):
        self._lock = lock
        self._rates = Rates(Progress())

    def on_begin(self, run: Run) -> None:
        self._rates = Rates(run.progress)

    def on_pretrain_step(self, run: Run, metrics: Metrics) -> None:
        if run.agent.logging:
            self._log(run, metrics, "pretrain")

    def on_step(self, run: Run, metrics: Metrics) -> None:
        if run.agent.logging:
            self._log(run, metrics, "train")

    def on_evaluation(self, run: Run, metrics: Metrics, prefix: str) -> None:
        self._log(run, metrics, prefix)

    def on_shutdown(self, run: Run) -> None:
        run.logger.close()

    def _log(self, run: Run, metrics: Metrics, prefix: str) -> None:
        progress, pretraining = run.progress, prefix.startswith("pretrain")
        common: dict[str, Any] = {
            "total_time": run.total_time(),
            "iteration": progress.pretrain_step if pretraining else progress.iterations,
            "env_steps": progress.env_steps,
            "env_episodes": run.episodes.count,
            "updates": progress.updates,
            "buffer_size": len(run.replay_buffer),
        }
        if run.demo_replay_buffer is not None:
            common["demo_buffer_size"] = len(run.demo_replay_buffer)
        if not prefix.endswith("eval"):
            common |= self._rates.since_last(progress, run.cfg.batch_size)
        step = progress.pretrain_step if pretraining else progress.env_steps
        run_folder.require_in_place(self._lock)
        run.logger.log_metrics(common | metrics, step, prefix)


class Bar(Callback):
    """The progress bar of online training."""

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None

    def on_step(self, run: Run, metrics: Metrics) -> None:
        if self._bar is None:
            done, shown = run.progress.env_steps - run.stride, bool(run.cfg.progress_bar)
            self._bar = ProgressBar(run.cfg.num_train_frames, done, enabled=shown)
        success = metrics.get("episode_success")
        if run.agent.logging:
            self._bar.note(**({} if success is None else {"success": f"{success:.0%}"}))
        self._bar.update(run.stride)

    def on_shutdown(self, run: Run) -> None:
        if self._bar is not None:
            self._bar.close()


class Evaluation(Callback):
    """Evaluations: of the untrained agent, every `eval_every_steps`, and of the last policy."""

    def on_pretrain_step(self, run: Run, metrics: Metrics) -> None:
        every = run.cfg.eval_every_steps
        if every and run.progress.pretrain_step % every == 0:
            run.evaluate("pretrain_eval")

    def on_online_begin(self, run: Run) -> None:
        is_new = run.progress.env_steps == 0 and run.progress.evaluated_at is None
        if is_new and run.cfg.eval_every_steps and run.cfg.num_train_frames and not run.stop:
            run.evaluate()

    def on_step(self, run: Run, metrics: Metrics) -> None:
        if run.due(run.cfg.eval_every_steps):
            run.evaluate()

    def on_end(self, run: Run) -> None:
        is_done = run.progress.evaluated_at == run.progress.env_steps
        if run.cfg.eval_every_steps and not run.stop and not is_done:
            run.evaluate()


class Snapshots(Callback):
    """Snapshots: the best evaluation so far, every `snapshot_every_n`, and the end."""

    def __init__(self) -> None:
        self._saved_at: int | None = None  # env steps

    def on_evaluation(self, run: Run, metrics: Metrics, prefix: str) -> None:
        best = prefix == "eval" and run.snapshots.is_best(metrics)
        if best and run.cfg.save_snapshot:
            run.save_snapshot(best=True)

    def on_step(self, run: Run, metrics: Metrics) -> None:
        if run.due(run.cfg.snapshot_every_n):
            self._save(run)

    def on_end(self, run: Run) -> None:
        self._save(run)

    def on_snapshot(self, run: Run, path: Path) -> None:
        self._saved_at = run.progress.env_steps

    def _save(self, run: Run) -> None:
        if run.cfg.save_snapshot and self._saved_at != run.progress.env_steps:
            run.save_snapshot()


class Record(Callback):
    """`run.json`: how far the run is, and how it ended. Comes after all that it speaks of."""

    def __init__(self, lock: FolderLock):
        self._lock = lock
        self._started = run_record.now()

    def on_begin(self, run: Run) -> None:
        before = run_record.stored(self._lock.folder)  # of the run that goes on in its own folder
        self._started = (before and before.started) or self._started
        run_record.clear_failure(self._lock.folder)
        self._write(run, Status.RUNNING)

    def on_pretrain_step(self, run: Run, metrics: Metrics) -> None:
        if run.agent.logging:
            self._write(run, Status.RUNNING)

    def on_step(self, run: Run, metrics: Metrics) -> None:
        if run.agent.logging:
            self._write(run, Status.RUNNING)

    def on_evaluation(self, run: Run, metrics: Metrics, prefix: str) -> None:
        self._write(run, Status.RUNNING)

    def on_end(self, run: Run) -> None:
        reason = run.stop.reason
        self._write(run, Status.FINISHED if reason in (None, PRUNED) else Status.STOPPED, reason)

    def on_error(self, run: Run, error: BaseException) -> None:
        stopped = isinstance(error, KeyboardInterrupt)
        reason = one_line(error) or type(error).__name__
        with contextlib.suppress(OSError):  # the error may be a full disk
            self._write(run, Status.STOPPED if stopped else Status.FAILED, reason)

    def _write(self, run: Run, status: Status, reason: str | None = None) -> None:
        if not self._lock.is_in_place():  # the folder was removed or renamed: others tell
            return
        record = RunRecord(
            status,
            reason,
            env_steps=run.progress.env_steps,
            num_train_frames=int(run.cfg.num_train_frames),
            seconds=round(run.total_time(), 1),
            started=self._started,
            updated=run_record.now(),
        )
        run_record.write(self._lock.folder, record)
