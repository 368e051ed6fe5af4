"""The evaluations of a run: its environments for them, and what is filmed."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from omegaconf import DictConfig

from robobase.envs.vector_compat import final_mask
from robobase.evaluation import evaluate
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


class EvaluationVideo:
    """An `on_step` of `evaluate` that records the first episode, or all in sub-environment 0.

    Args:
        name: of the files: `<name>.mp4` for the first episode, else `<name>_<episode>.mp4`.
    """

    def __init__(self, recorder: VideoRecorder, name: str, enabled: bool, all_episodes: bool):
        self._recorder = recorder
        self._name = name
        self._enabled = enabled
        self._all_episodes = all_episodes
        self._episode = -1  # in the recorder now

    def __call__(
        self, env: gym.Env | VectorEnv, infos: dict[str, Any], episodes: np.ndarray
    ) -> None:
        episode = int(episodes[0])
        if not self._enabled or episode < 0 or (episode > 0 and not self._all_episodes):
            return
        if episode != self._episode:
            self._save()
            self._episode = episode
            self._recorder.init(env)
            return
        ended = final_mask(infos)
        if ended is None or not ended[0]:  # else the picture is that of the next episode
            self._recorder.record(env)

    def finish(self) -> dict[str, Any]:
        """Write the last video and return it as the metric `eval_rollout`, if there is one."""
        self._save()
        if self._episode < 0 or not self._recorder.frames:
            return {}
        video = {"video": np.stack(self._recorder.frames), "fps": self._recorder.fps}
        return {"eval_rollout": video}

    def _save(self) -> None:
        if self._episode >= 0:
            suffix = f"_{self._episode}" if self._all_episodes else ""
            self._recorder.save(f"{self._name}{suffix}.mp4")
