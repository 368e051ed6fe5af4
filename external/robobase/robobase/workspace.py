"""The life of a run: build the parts that a config names, then collect, update and repeat.

What happens beside that, such as evaluations, logs and snapshots, are callbacks. All schedules
count env steps: one step of N environments is `N * action_repeat * action_sequence`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch.utils.data import DataLoader
from tqdm import tqdm

from robobase import compute, run_folder, run_state, sanity, snapshot, utils
from robobase.build import create_default_envs as _create_default_envs
from robobase.build import create_default_replay_buffer as _create_default_replay_buffer
from robobase.build import instantiate, make_agent, make_envs
from robobase.callbacks import Bar, Callback, Evaluation, Logging, Record, Snapshots
from robobase.closing import Closing
from robobase.collector import Collector, EnvState
from robobase.envs.env import EnvFactory
from robobase.errors import UserError
from robobase.evaluator import Evaluator
from robobase.experience import CreateReplay, Experience
from robobase.experience import seed_worker as _worker_init_fn  # noqa: F401 - RoboBase's name
from robobase.learner import Learner
from robobase.method.core import Metrics
from robobase.progress import Progress, RunTime
from robobase.rollout import env_info
from robobase.run_snapshot import locate
from robobase.settings.readers import surplus
from robobase.signals import PRUNED, StopRequest

_SAVING = "the snapshot is not complete yet, without its replay buffer a resumed run is not exact"


class Workspace:
    """One run.

    Args:
        cfg: the composed config (`robobase/cfgs/robobase_config.yaml` and what refines it).
        env_factory: makes the environments; None takes `cfg.env_factory`.
        create_replay_fn: `(cfg, observation_space, action_space, demo_replay=False) -> buffer`.
        work_dir: the run folder; None takes Hydra's output folder.
        callbacks: what else is to be told what happens, see `robobase.callbacks`.

    Raises:
        UserError: settings that cannot work, a run folder that cannot be written, or a
            `resume_from` that cannot be read or belongs to another task.
    """

    def __init__(
        self,
        cfg: DictConfig,
        env_factory: EnvFactory | None = None,
        create_replay_fn: CreateReplay | None = None,
        work_dir: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
    ):
        self._time = RunTime()
        sanity.check(cfg)
        self.cfg = cfg
        self.env_factory = env_factory or _create_default_envs(cfg)
        self.env_factory.complete_config(cfg)
        self.work_dir = Path(work_dir or HydraConfig.get().runtime.output_dir)
        if cfg.resume_from:
            cfg.resume_from = str(locate(cfg.resume_from))
        resume_from = Path(cfg.resume_from) if cfg.resume_from else None
        self._lock = run_folder.claim(self.work_dir, resume_from)
        try:
            self._build(create_replay_fn or _create_default_replay_buffer, resume_from, callbacks)
        except BaseException:
            run_folder.abandon(self._lock, resume_from)
            raise

    def _build(
        self, create: CreateReplay, resume_from: Path | None, more: Sequence[Callback]
    ) -> None:
        """All parts; the run folder is written last, when the settings have proved to work."""
        cfg, folder = self.cfg, self.work_dir
        utils.set_seed_everywhere(cfg.seed)
        self.device = compute.pick_device(cfg.num_gpus)
        cfg.num_threads = compute.share_threads(cfg.num_threads)
        print(f"device {compute.describe(self.device, cfg.num_threads)}; run folder {folder}")
        unused = surplus(cfg, "method")
        if unused:
            print(f"not used by {cfg.method._target_}: method.{{{','.join(unused)}}}")
        envs = make_envs(cfg, self.env_factory)
        self.train_envs = envs.train
        self.observation_space, self.action_space = envs.observation_space, envs.action_space
        self.agent = make_agent(cfg, self.observation_space, self.action_space, self.device)
        self.progress = Progress()
        self.experience = Experience(cfg, self.agent, create)
        self.replay_buffer = self.experience.replay_buffer
        self.demo_replay_buffer = self.experience.demo_replay_buffer
        self.collector = Collector(cfg, self.train_envs, self.agent, self.experience, self.progress)
        self.episodes = self.collector.episodes
        self.learner = Learner(cfg, self.agent, self.experience, self.progress)
        self.snapshots: snapshot.SnapshotKeeper = instantiate(
            cfg.snapshot_keeper, directory=folder / "snapshots"
        )
        self.stop = StopRequest()
        resumed = self.load_snapshot(resume_from) if resume_from else None

        run_folder.prepare(folder, cfg)
        self.logger = hydra.utils.get_class(cfg.logger._target_)(folder, cfg)
        self.evaluator = Evaluator(cfg, envs.evaluation, envs.evaluation_vector, folder)
        self.eval_video_recorder = self.evaluator.recorder
        own = Bar(), Evaluation(), Snapshots(), Closing(), Record(self._lock)
        self.callbacks: list[Callback] = [Logging(self._lock), *own, *more]
        if resume_from is not None and resumed is not None:
            run_folder.continue_records(
                resume_from, resumed, folder, cfg, self.progress, self.snapshots
            )

    # ---- The run

    def train(self) -> None:
        """Demonstrations, pre-training, online training, and what the callbacks do.

        The signals of `robobase.signals` and `time_limit_minutes` end it early.

        Raises:
            UserError: the run folder was removed or renamed meanwhile.
        """
        if self.train_envs is None:
            raise UserError("num_train_envs=0 is for evaluation only: call eval(), not train()")
        try:
            with StopRequest(self.cfg.time_limit_minutes, _SAVING) as self.stop:
                self._tell("on_begin")
                self.experience.load_demos(self.env_factory)
                self._pretrain()
                self._train_online()
                if self.stop:
                    reason = self.stop.reason
                    why = "as worse than other trials" if reason == PRUNED else f"by {reason}"
                    tqdm.write(f"stopped {why} at {self.progress.env_steps} env steps")
                self._tell("on_end")
        except BaseException as error:
            self._tell("on_error", error)
            if isinstance(error, Exception):  # whatever could not be written there: that is why
                run_folder.require_in_place(self._lock)
            raise
        finally:
            self.shutdown()

    def _pretrain(self) -> None:
        cfg, progress = self.cfg, self.progress
        if progress.pretrain_step < cfg.num_pretrain_steps and self.replay_buffer.is_empty():
            raise UserError("num_pretrain_steps > 0 needs data: set demos, or num_pretrain_steps=0")
        while progress.pretrain_step < cfg.num_pretrain_steps and not self.stop:
            self.agent.logging = progress.pretrain_step % cfg.log_pretrain_every == 0
            metrics = self.learner.update(progress.pretrain_step)
            self._tell("on_pretrain_step", metrics)
            progress.pretrain_step += 1

    def _train_online(self) -> None:
        self.collector.start()
        self._tell("on_online_begin")
        while self.progress.env_steps < self.cfg.num_train_frames and not self.stop:
            infos = self.collector.step()
            self.agent.logging = self.due(self.cfg.log_every)
            metrics = self.learner.learn()
            if self.agent.logging:
                metrics = env_info(infos) | metrics | self.episodes.metrics(self.cfg.action_repeat)
            self._tell("on_step", metrics)

    def due(self, every: int | None) -> bool:
        """Whether a multiple of `every` was reached by the last iteration's env steps."""
        steps = self.progress.env_steps
        return steps // every > (steps - self.stride) // every if every else False

    def evaluate(self, prefix: str = "eval") -> None:
        """Evaluate as the config says, and tell the callbacks: `eval` or `pretrain_eval`."""
        progress = self.progress
        name = None if prefix == "eval" else f"pretrain_{progress.pretrain_step}"
        metrics = self.evaluator.evaluate(self.agent, progress, name)
        if not metrics:
            return
        if prefix == "eval":
            progress.evaluated_at = progress.env_steps
        self._tell("on_evaluation", metrics, prefix)

    def eval(self) -> Metrics:
        """Evaluate on `num_eval_episodes` fixed seeds and record each as a video."""
        return self.evaluator.evaluate(self.agent, self.progress, film_all=True)

    def _tell(self, event: str, *what: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *what)

    # ---- Snapshots

    def _parts(self) -> run_state.Parts:
        envs, collector, experience = self.train_envs, self.collector, self.experience
        return {
            "progress": self.progress,
            "episodes": collector.episodes,
            "best_score": self.snapshots,
            "total_time": self._time,
            "replay": experience,
            "env": EnvState(envs) if hasattr(envs, "state_dict") else None,
            "observations": collector,
            "teacher_actions": collector.teaching,
            "self_imitation": experience.self_imitation,
            "rollout": experience.rollout,
            "rng": run_state.Generators(),
        }

    def save_snapshot(self, best: bool = False, with_replay: bool | None = None) -> None:
        """Write `snapshots/<env steps>_snapshot.pt` and make it the latest (and the best).

        With the replay buffer if `snapshot_replay` is true, or as `with_replay` says.
        """
        if with_replay is None:
            with_replay = self.cfg.snapshot_replay is True
        state = run_state.capture(self.cfg, self.agent, self._parts(), with_replay)
        run_folder.require_in_place(self._lock)  # or it would be made again
        path = self.snapshots.save(state, self.progress.env_steps, best)
        self._tell("on_snapshot", path)

    def load_snapshot(self, path: str | Path | None = None) -> dict[str, Any]:
        """Continue from a snapshot (default: the latest of this run). This run's config holds.

        Returns:
            The snapshot's contents.

        Raises:
            UserError: missing, damaged, or made for another task or other networks.
        """
        path = Path(path) if path is not None else self.snapshots.latest
        state = snapshot.read(path)
        if not run_state.restore(self.agent, self._parts(), state, path):
            self.collector.forget()
        return state

    def shutdown(self) -> None:
        """Close environments, buffers and the logger. Can be called twice."""
        if self.train_envs is not None:
            self.train_envs.close()
            self.train_envs = None
        self.evaluator.close()
        self.experience.shutdown()
        try:
            self._tell("on_shutdown")
        finally:
            self._lock.release()

    # ---- What a run shows

    @property
    def eval_env(self) -> gym.Env | None:
        """None where there are no evaluations, and after the run."""
        return self.evaluator.env

    @property
    def stride(self) -> int:
        """Env steps of one iteration."""
        return self.collector.stride

    @property
    def replay_iter(self) -> Iterator[dict[str, torch.Tensor]]:
        """Endless batches on the device, merged with demonstrations where there is a buffer."""
        return self.learner.replay_iter

    @property
    def replay_loader(self) -> DataLoader:
        """The buffer as a DataLoader, for code that was written for one."""
        return self.experience.loader(self.cfg.replay.pin_memory and self.device.type == "cuda")

    def total_time(self) -> float:
        """Seconds since the run began, over all its resumptions."""
        return self._time.total()

    @property
    def pretrain_steps(self) -> int:
        return self.progress.pretrain_step

    @property
    def main_loop_iterations(self) -> int:
        return self.progress.iterations

    @property
    def global_env_episodes(self) -> int:
        return self.episodes.count

    @property
    def global_env_steps(self) -> int:
        return self.progress.env_steps
