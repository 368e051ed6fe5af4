"""Videos of evaluation episodes, recorded while `evaluation.evaluate` plays them."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from robobase.envs.vector_compat import final_mask
from robobase.video import VideoRecorder


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
