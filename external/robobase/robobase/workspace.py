"""The life of a run: build the parts a config names, collect, update, evaluate, snapshot.

All schedules count env steps: one step of N environments is `N * action_repeat * action_sequence`.
"""

import functools
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium as gym
import hydra
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch.utils.data import DataLoader
from tqdm import tqdm

from robobase import (
    closing,
    command_line,
    compute,
    evaluation,
    run_folder,
    run_state,
    sanity,
    snapshot,
    utils,
)
from robobase.build import create_default_envs as _create_default_envs
from robobase.build import create_default_replay_buffer as _create_default_replay_buffer
from robobase.build import instantiate, make_agent, surplus_settings
from robobase.envs.env import EnvFactory
from robobase.envs.vector_compat import final_obs_batch, require_same_step
from robobase.errors import UserError
from robobase.evaluation_video import EvaluationVideo
from robobase.method.core import OnPolicyMethod, TaughtMethod
from robobase.progress import ON_STOP, Progress
from robobase.progress_bar import ProgressBar
from robobase.replay_buffer.rollout_buffer import RolloutBuffer
from robobase.replay_buffer.uniform_replay_buffer import UniformReplayBuffer
from robobase.rollout import EpisodeTracker, Rates, env_info
from robobase.run_snapshot import locate
from robobase.self_imitation import SelfImitation
from robobase.signals import TIME_LIMIT, StopRequest
from robobase.teaching import Teaching
from robobase.triton_first import load_triton
from robobase.video import VideoRecorder

CreateReplay = Callable[..., UniformReplayBuffer]
Metrics = dict[str, Any]

_SAVING = "the snapshot is not complete yet, without its replay buffer a resumed run is not exact"


class Workspace:
    """One run.

    Args:
        cfg: the composed config (`robobase/cfgs/robobase_config.yaml` and what refines it).
        env_factory: makes the environments; None takes `cfg.env_factory`.
        create_replay_fn: `(cfg, observation_space, action_space, demo_replay=False) -> buffer`.
        work_dir: the run folder; None takes Hydra's output folder.

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
    ):
        self._timer = utils.Timer()
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
            self._build(create_replay_fn or _create_default_replay_buffer, resume_from)
        except BaseException:
            run_folder.abandon(self._lock, resume_from)
            raise

    def _build(self, create_replay_fn: CreateReplay, resume_from: Path | None) -> None:
        """All parts; the run folder is written last, when the settings have proved to work."""
        cfg = self.cfg
        utils.set_seed_everywhere(cfg.seed)
        self.device = compute.pick_device(cfg.num_gpus)
        cfg.num_threads = compute.share_threads(cfg.num_threads)
        print(
            f"device {compute.describe(self.device, cfg.num_threads)}; run folder {self.work_dir}"
        )
        surplus = surplus_settings(cfg)
        if surplus:
            print(f"not used by {cfg.method._target_}: method.{{{','.join(surplus)}}}")
        self._make_envs()
        self.agent = make_agent(cfg, self.observation_space, self.action_space, self.device)
        self.teaching = Teaching(self.agent) if isinstance(self.agent, TaughtMethod) else None
        self._make_replay(create_replay_fn)
        self.snapshots: snapshot.SnapshotKeeper = instantiate(
            cfg.snapshot_keeper, directory=self.work_dir / "snapshots"
        )
        self.episodes = EpisodeTracker(cfg.num_train_envs)
        self._stop = StopRequest()
        self.progress = Progress()
        self.observations: dict[str, np.ndarray] | None = None  # (N, T, ...), None before a reset
        self.past_time = 0.0  # seconds that the runs took which this one continues
        self._rates = Rates()
        self._saved_at: int | None = None  # env steps
        resumed = self.load_snapshot(resume_from) if resume_from else None

        run_folder.prepare(self.work_dir, cfg)
        self.logger = hydra.utils.get_class(cfg.logger._target_)(self.work_dir, cfg)
        self.eval_video_recorder = self._make_video_recorder()
        if resume_from is not None and resumed is not None:
            self._continue_records(resume_from, resumed)

    # ---- The run

    def train(self) -> None:
        """Demonstrations, pre-training, online training, a last evaluation and snapshot.

        The signals of `robobase.signals` and `time_limit_minutes` end it early, after a snapshot.

        Raises:
            UserError: the run folder was removed or renamed meanwhile.
        """
        if self.train_envs is None:
            raise UserError("num_train_envs=0 is for evaluation only: call eval(), not train()")
        try:
            with StopRequest(self.cfg.time_limit_minutes, _SAVING) as self._stop:
                self._load_demos()
                self._pretrain()
                self._train_online()
                self._finish()
        except Exception:  # whatever could not be written there: that is why
            run_folder.require_in_place(self._lock)
            raise
        finally:
            self.shutdown()

    def _train_online(self) -> None:
        cfg = self.cfg
        self._start_episodes()
        is_new = self.progress.env_steps == 0 and self.progress.evaluated_at is None
        if is_new and cfg.num_train_frames and not self._stop:
            self._evaluate_and_save(evaluate=bool(cfg.eval_every_steps), save=False)
        with self._progress_bar() as bar:
            while self.progress.env_steps < cfg.num_train_frames and not self._stop:
                metrics = self._perform_env_steps()
                self.agent.logging = self._due(cfg.log_every)
                metrics |= self._perform_updates()
                if self.agent.logging:
                    metrics |= self.episodes.metrics(cfg.action_repeat)
                    self._log(metrics, "train")
                    bar.note(**_headline(metrics))
                self._evaluate_and_save(
                    evaluate=self._due(cfg.eval_every_steps), save=self._due(cfg.snapshot_every_n)
                )
                bar.update(self._stride)

    def _evaluate_and_save(self, evaluate: bool, save: bool) -> None:
        """Do what is asked for; the best evaluation so far is saved in any case."""
        best = evaluate and self._evaluate()
        if self.cfg.save_snapshot and (save or best):
            self.save_snapshot(best)

    def _finish(self) -> None:
        steps = self.progress.env_steps
        if self._stop:
            tqdm.write(f"stopped by {self._stop.reason} at {steps} env steps")
        evaluated = self._stop or self.progress.evaluated_at == steps
        self._evaluate_and_save(
            evaluate=bool(self.cfg.eval_every_steps) and not evaluated,
            save=self._saved_at != steps,
        )
        if not self._stop or self._stop.reason == TIME_LIMIT:  # who stops a run is waiting
            closing.record_best_and_last(self)
        if self.cfg.save_snapshot:
            closing.tell_best(self)
            if self._stop and self.cfg.snapshot_replay == ON_STOP:
                self._add_replay()
            longer = "num_train_frames" if self.cfg.num_train_frames else "num_pretrain_steps"
            how = "to continue" if self._stop else f"to go on, with a larger {longer}"
            tqdm.write(f"{how}: {command_line.to_resume(self.snapshots.latest)}")

    def _due(self, every: int | None) -> bool:
        """Whether a multiple of `every` was reached by the last iteration's env steps."""
        if not every:
            return False
        return self.progress.env_steps // every > (self.progress.env_steps - self._stride) // every

    @property
    def _stride(self) -> int:
        """Env steps of one iteration."""
        return self.cfg.num_train_envs * self.cfg.action_repeat * self.cfg.action_sequence

    # ---- Collecting

    def _start_episodes(self) -> None:
        """Reset the environments, unless a snapshot put them where its run was."""
        if self.observations is None:
            assert self.train_envs is not None
            seeds = utils.independent_seeds(
                self.cfg.num_train_envs, self.cfg.seed, self.progress.env_steps
            )
            self.observations, infos = self.train_envs.reset(seed=seeds)  # type: ignore[arg-type]
            if self.teaching is not None:
                self.teaching.listen(infos)
            self.agent.reset(self.progress.env_steps, list(range(self.cfg.num_train_envs)))

    def _perform_env_steps(self) -> Metrics:
        """Step every training environment once; returns `env_info/*` when logging is due."""
        assert self.train_envs is not None
        assert self.observations is not None
        actions = evaluation.act(
            self.agent, self.observations, self.progress.env_steps, eval_mode=False
        )
        remembered = actions
        if self.teaching is not None:
            actions, remembered = self.teaching.take_over(actions, self.progress.env_steps)
        following, reward, terminated, truncated, infos = self.train_envs.step(actions)
        if self.teaching is not None:
            self.teaching.listen(infos)
        done = terminated | truncated
        success = evaluation.task_success(infos, len(done))
        unstable = evaluation.unstable(infos, len(done))
        succeeded = self.episodes.add(reward, done, success, unstable)

        now, final = self.observations, final_obs_batch(infos)
        if self.rollout is not None:
            self.rollout.add(now, actions, reward, terminated, truncated, final, following)
        else:
            newest = _newest(now), remembered[:, 0], reward, terminated, truncated, _newest(final)
            flags: dict[str, Any] = {"demo": np.zeros(len(done), np.uint8)}
            self.replay_buffer.add_batch(*newest, **(flags if self._stores_demo_flag else {}))
            if self.self_imitation:
                self.self_imitation.add(*newest, succeeded=succeeded)

        self.observations = following
        self.progress.iterations += 1
        self.progress.env_steps += self._stride
        if done.any():
            self.agent.reset(self.progress.env_steps, np.flatnonzero(done).tolist())
        return env_info(infos) if self._due(self.cfg.log_every) else {}

    # ---- Learning

    def _perform_updates(self) -> Metrics:
        """The gradient steps that this iteration's N transitions pay for."""
        if isinstance(self.agent, OnPolicyMethod):
            return self._learn_from_rollout(self.agent)
        # The first n-step windows are complete when every environment has made nstep + 1 steps.
        first_windows = (self.cfg.replay.nstep + 1) * self.cfg.num_train_envs
        if len(self.replay_buffer) < max(first_windows, self.cfg.replay_size_before_train):
            return {}
        self.progress.update_credit += self._updates_per_transition() * self.cfg.num_train_envs
        metrics: Metrics = {}
        while self.progress.update_credit >= 1:
            metrics = self._update(self.progress.env_steps)
            self.progress.update_credit -= 1
        return metrics

    def _update(self, step: int) -> Metrics:
        self.agent.train(True)
        metrics = self.agent.update(self.replay_iter, step, self.replay_buffer)
        self.agent.train(False)
        self.progress.updates += 1
        return metrics

    def _learn_from_rollout(self, agent: OnPolicyMethod) -> Metrics:
        """One update whenever the rollout is complete; its metrics are logged until the next."""
        assert self.rollout is not None
        if self.rollout.is_full():
            self._update(self.progress.env_steps)
        return agent.last_metrics if agent.logging else {}

    def _updates_per_transition(self) -> Fraction:
        if self.cfg.utd_ratio is None:
            return Fraction(1, self.cfg.update_every_steps)
        return Fraction(str(self.cfg.utd_ratio))  # through str: 0.1 is a tenth

    @functools.cached_property
    def replay_iter(self) -> Iterator[dict[str, torch.Tensor]]:
        """Endless batches on the device, merged with demonstrations where there is a buffer."""
        if self.rollout is not None:
            return self.rollout.batches(self.device)
        batches = self.replay_buffer.batches(self.device)
        if self.demo_replay_buffer is None:
            return batches
        demos = self.demo_replay_buffer.batches(self.device)
        return utils.merge_replay_demo_iter(batches, demos)

    @property
    def replay_loader(self) -> DataLoader:
        """The buffer as a DataLoader, for code that was written for one."""
        return DataLoader(
            self.replay_buffer,
            batch_size=self.cfg.batch_size,
            num_workers=self.cfg.replay.num_workers,
            pin_memory=self.cfg.replay.pin_memory and self.device.type == "cuda",
            worker_init_fn=_worker_init_fn,
        )

    def _load_demos(self) -> None:
        if self.cfg.demos == 0:
            return
        for buffer in self.replay_buffers:
            only_demos = self.cfg.is_imitation_learning or buffer is self.demo_replay_buffer
            if buffer.is_empty():  # a resumed run finds its demonstrations in the buffer
                self.env_factory.load_demos_into_replay(self.cfg, buffer, is_demo_buffer=only_demos)

    def _pretrain(self) -> None:
        cfg = self.cfg
        if self.progress.pretrain_step < cfg.num_pretrain_steps and self.replay_buffer.is_empty():
            raise UserError("num_pretrain_steps > 0 needs data: set demos, or num_pretrain_steps=0")
        while self.progress.pretrain_step < cfg.num_pretrain_steps and not self._stop:
            step = self.progress.pretrain_step
            self.agent.logging = step % cfg.log_pretrain_every == 0
            metrics = self._update(step)
            if self.agent.logging:
                self._log(metrics, "pretrain")
            if cfg.eval_every_steps and step % cfg.eval_every_steps == 0:
                self._log(self._eval(video_name=f"pretrain_{step}"), "pretrain_eval")
            self.progress.pretrain_step += 1

    # ---- Evaluating

    def eval(self) -> Metrics:
        """Evaluate on `num_eval_episodes` fixed seeds and record each as a video."""
        return self._eval(eval_record_all_episode=True)

    def _eval(
        self, eval_record_all_episode: bool = False, video_name: str | None = None
    ) -> Metrics:
        if self.eval_env is None:
            return {}
        # A video of every episode needs an environment that plays them one after the other.
        env = self.eval_env if eval_record_all_episode else self._eval_envs or self.eval_env
        every = self.cfg.log_eval_video_every_n_evals
        video = EvaluationVideo(
            self.eval_video_recorder,
            name=video_name or str(self.progress.env_steps),
            enabled=self.cfg.log_eval_video
            and bool(every)
            and self.progress.evaluations % every == 0,
            all_episodes=eval_record_all_episode,
        )
        result = evaluation.evaluate(
            self.agent,
            env,
            self.cfg.num_eval_episodes,
            self.cfg.eval_seed,
            self.progress.env_steps,
            on_step=video,
        )
        self.progress.evaluations += 1
        return result.metrics(self.cfg.action_repeat) | video.finish()

    def _evaluate(self) -> bool:
        """Evaluate and log; whether this is the best so far."""
        metrics = self._eval()
        if not metrics:
            return False
        self._log(metrics, "eval")
        self.progress.evaluated_at = self.progress.env_steps
        return self.snapshots.is_best(metrics)

    # ---- Logging

    def _log(self, metrics: Metrics, prefix: str) -> None:
        pretraining = prefix.startswith("pretrain")
        common = {
            "total_time": self.total_time(),
            "iteration": self.progress.pretrain_step if pretraining else self.progress.iterations,
            "env_steps": self.progress.env_steps,
            "env_episodes": self.episodes.count,
            "updates": self.progress.updates,
            "buffer_size": len(self.replay_buffer),
        }
        if self.demo_replay_buffer is not None:
            common["demo_buffer_size"] = len(self.demo_replay_buffer)
        if not prefix.endswith("eval"):
            common |= self._rates.since_last(
                self.progress.env_steps, self.progress.updates, self.cfg.batch_size
            )
        step = self.progress.pretrain_step if pretraining else self.progress.env_steps
        run_folder.require_in_place(self._lock)
        self.logger.log_metrics(common | metrics, step, prefix)

    def total_time(self) -> float:
        """Seconds since the run began, over all its resumptions."""
        return self.past_time + self._timer.total_time()

    def _progress_bar(self) -> ProgressBar:
        done = self.progress.env_steps
        return ProgressBar(self.cfg.num_train_frames, done, enabled=bool(self.cfg.progress_bar))

    # ---- Snapshots

    def save_snapshot(self, best: bool = False) -> None:
        """Write `snapshots/<env steps>_snapshot.pt` and make it the latest (and the best)."""
        state = run_state.capture(self, with_replay=self.cfg.snapshot_replay is True)
        run_folder.require_in_place(self._lock)  # or it would be made again
        self.snapshots.save(state, self.progress.env_steps, best)
        self._saved_at = self.progress.env_steps

    def _add_replay(self) -> None:
        """Write the last snapshot again, with the replay buffer: what is large comes last."""
        state = run_state.capture(self, with_replay=True)
        try:
            self.snapshots.save(state, self.progress.env_steps)
        except UserError as error:
            tqdm.write(f"the snapshot is left without the replay buffer: {error}")

    def load_snapshot(self, path: str | Path | None = None) -> dict[str, Any]:
        """Continue from a snapshot (default: the latest of this run). This run's config holds.

        Returns:
            The snapshot's contents.

        Raises:
            UserError: missing, damaged, or made for another task or other networks.
        """
        path = Path(path) if path is not None else self.snapshots.latest
        state = snapshot.read(path)
        run_state.restore(self, state, path)
        self._rates = Rates(self.progress.env_steps, self.progress.updates)
        return state

    def _continue_records(self, path: Path, state: dict[str, Any]) -> None:
        """Carry over what the snapshot's run logged, and say which settings have changed."""
        changed = run_folder.changed_keys(state.get("cfg"), self.cfg)
        steps = self.progress.env_steps
        source = path.resolve().parent.parent
        run_folder.carry_over_csvs(source, self.work_dir, steps, self.progress.pretrain_step)
        self.snapshots.carry_over_best(path.resolve().parent)
        print(
            f"resumed {path} at {steps} env steps; changed settings: {', '.join(changed) or 'none'}"
        )
        if steps and state.get("replay") is None and not self.cfg.is_imitation_learning:
            print("the snapshot is without its replay buffer: the run fills a new one")

    # ---- Building

    def _make_envs(self) -> None:
        cfg, factory = self.cfg, self.env_factory
        load_triton()  # the environments may open OpenGL
        if cfg.demos != 0:
            factory.collect_or_fetch_demos(cfg, cfg.demos)
        self.train_envs: VectorEnv | None = None
        if cfg.num_train_envs > 0:
            self.train_envs = factory.make_train_env(cfg)
            require_same_step(self.train_envs)
        self.eval_env: gym.Env | None = factory.make_eval_env(cfg)
        if cfg.demos != 0:
            factory.post_collect_or_fetch_demos(cfg)
        assert isinstance(self.eval_env.observation_space, spaces.Dict)
        assert isinstance(self.eval_env.action_space, spaces.Box)
        self.observation_space = self.eval_env.observation_space
        self.action_space = self.eval_env.action_space
        self._eval_envs: VectorEnv | None = None
        if cfg.num_eval_episodes == 0:
            self.eval_env.close()
            self.eval_env = None
        elif cfg.frame_stack_on_channel:  # recurrent agents keep the memory of one evaluation
            width = min(cfg.num_eval_episodes, cfg.num_eval_envs)
            self._eval_envs = factory.make_eval_vector_env(cfg, width)

    def _make_video_recorder(self) -> VideoRecorder:
        if not self.cfg.log_eval_video or self.eval_env is None:
            return VideoRecorder(None)
        real_time = self.eval_env.get_wrapper_attr("metadata").get("render_fps")
        fps = {} if real_time is None else {"fps": round(real_time)}
        return VideoRecorder(self.work_dir / "eval_videos", **fps)

    def _make_replay(self, create: CreateReplay) -> None:
        cfg, described = self.cfg, (self.observation_space, self.action_space)
        self.rollout: RolloutBuffer | None = None
        if isinstance(self.agent, OnPolicyMethod):
            length = self.agent.rollout_length
            self.rollout = RolloutBuffer(*described, length, cfg.num_train_envs)
        self.replay_buffer = create(cfg, *described)
        self.demo_replay_buffer = None
        if cfg.demo_batch_size is not None:
            self.demo_replay_buffer = create(cfg, *described, demo_replay=True)
        self._stores_demo_flag = "demo" in self.replay_buffer.get_storage_signature()[0]
        self.self_imitation = None
        if self.demo_replay_buffer is not None and cfg.use_self_imitation:
            self.self_imitation = SelfImitation(self.replay_buffers, cfg.num_train_envs)

    def shutdown(self) -> None:
        """Close environments, buffers and the logger. Can be called twice."""
        for env in (self.train_envs, self.eval_env, self._eval_envs):
            if env is not None:
                env.close()
        self.train_envs = self.eval_env = self._eval_envs = None
        for buffer in self.replay_buffers:
            buffer.shutdown()
        try:
            self.logger.close()
        finally:
            self._lock.release()

    @property
    def replay_buffers(self) -> list[UniformReplayBuffer]:
        """The buffer of the run's own experience, and that of demonstrations if there is one."""
        return [b for b in (self.replay_buffer, self.demo_replay_buffer) if b is not None]

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


def _headline(metrics: Metrics) -> dict[str, str]:
    """What the progress bar shows."""
    success = metrics.get("episode_success")
    return {} if success is None else {"success": f"{success:.0%}"}


def _newest(stacks: dict[str, np.ndarray] | None) -> Any:
    """Observations (N, T, ...) without all but their last frame; None stays None."""
    return None if stacks is None else {key: frames[:, -1] for key, frames in stacks.items()}


def _worker_init_fn(worker_id: int) -> None:
    """Give numpy and `random` in a DataLoader worker the seed that torch gave it."""
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)  # noqa: NPY002 - what user code in a worker may draw from
    random.seed(seed)
