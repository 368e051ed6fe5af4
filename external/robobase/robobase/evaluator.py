"""The evaluations of a run: its environments for them, and what is filmed."""

from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv
from omegaconf import DictConfig

from robobase.evaluation import evaluate
from robobase.evaluation_video import EvaluationVideo
from robobase.method.core import Method, Metrics
from robobase.progress import Progress
from robobase.video import VideoRecorder


class Evaluator:
    """Plays `num_eval_episodes` on fixed seeds.

    Attributes:
        env: plays them one after the other; None where there are to be none.
        envs: many of it, where there are any.
        recorder: of `<work_dir>/eval_videos`.
    """

    def __init__(
        self, cfg: DictConfig, env: gym.Env | None, envs: VectorEnv | None, work_dir: Path
    ):
        self.env, self.envs = env, envs
        self.recorder = VideoRecorder(None)
        if cfg.log_eval_video and env is not None:
            real_time = env.get_wrapper_attr("metadata").get("render_fps")
            fps = {} if real_time is None else {"fps": round(real_time)}
            self.recorder = VideoRecorder(work_dir / "eval_videos", **fps)
        self._cfg = cfg

    def evaluate(
        self, agent: Method, progress: Progress, name: str | None = None, film_all: bool = False
    ) -> Metrics:
        """Metrics of one evaluation, and its video as `eval_rollout`; empty without environments.

        Args:
            name: of the video; None: the env steps.
            film_all: make a video of each episode, in place of the first in every n-th evaluation.
        """
        if self.env is None:
            return {}
        every = self._cfg.log_eval_video_every_n_evals
        video = EvaluationVideo(
            self.recorder,
            name=name or str(progress.env_steps),
            enabled=self._cfg.log_eval_video and bool(every) and progress.evaluations % every == 0,
            all_episodes=film_all,
        )
        # A video of every episode needs an environment that plays them one after the other.
        env = self.env if film_all else self.envs or self.env
        episodes, seed = self._cfg.num_eval_episodes, self._cfg.eval_seed
        result = evaluate(agent, env, episodes, seed, progress.env_steps, on_step=video)
        progress.evaluations += 1
        return result.metrics(self._cfg.action_repeat) | video.finish()

    def film(self, agent: Method, step: int, name: str) -> dict[str, Any] | None:
        """Play the first episode and write it as `<name>.mp4`; the video as a metric."""
        assert self.env is not None
        video = EvaluationVideo(self.recorder, name, enabled=True, all_episodes=False)
        evaluate(agent, self.env, 1, self._cfg.eval_seed, step, on_step=video)
        return video.finish().get("eval_rollout")

    def close(self) -> None:
        """Close the environments. Can be called twice."""
        for env in (self.env, self.envs):
            if env is not None:
                env.close()
        self.env = self.envs = None
