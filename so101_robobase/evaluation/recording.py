"""Watches an evaluation: per-step figures of every episode, the poses and pictures of a few."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from robobase.envs.vector_compat import final_info, final_obs
from robobase.evaluation import EvaluationResult, task_success
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.evaluation.statistics import Episode
from so101_robobase.sim.appearance import Look

IMAGE = "rgb"  # key of the picture in an observation, whatever its channels mean
_FIGURES = (
    "cube_z",
    "max_cube_z",
    "is_grasping",
    "jaw_angle",
    "gripper_to_cube",
    "episode_steps",
    "unstable",
)  # of an info


@dataclass
class Track:
    """What is needed to draw an episode afterwards: T policy steps, T + 1 states, first to last.

    Attributes:
        qpos: (13,) each; arm joints and cube pose.
        seen: (13,) each, of which the camera showed the policy a picture; late where it is slow.
        look: how the episode looks; None: as the scene is.
        cube_half_size: m, half the edge of its cube; None: the scene's.
        pictures: (C, H, W) uint8 each, newest frame of what the policy saw; none for state runs.
    """

    qpos: list[np.ndarray] = field(default_factory=list)
    seen: list[np.ndarray] = field(default_factory=list)
    look: Look | None = None
    cube_half_size: float | None = None
    pictures: list[np.ndarray] = field(default_factory=list)


@dataclass
class _Course:
    """An episode while it is played; one entry per policy step, of the state after it."""

    track: Track = field(default_factory=Track)
    success: bool = False
    unstable: bool = False
    success_step: int | None = None  # control step of the first success, to a policy step
    max_cube_z: float = 0.0
    cube_start: tuple[float, float] = (np.nan, np.nan)
    length: int = 0  # control steps
    cube_z: list[float] = field(default_factory=list)
    step_reward: list[float] = field(default_factory=list)
    is_grasping: list[bool] = field(default_factory=list)
    jaw_angle: list[float] = field(default_factory=list)
    gripper_to_cube: list[float] = field(default_factory=list)


class Recorder(VectorWrapper):
    """Wraps the evaluated environment; `robobase.evaluation.evaluate` calls its `on_step`.

    Args:
        env: vector environment over a lift task, with same-step autoreset.
        num_tracks: how many successes and how many failures to keep as tracks (the first ones).

    Attributes:
        tracks: kept tracks by episode index.
        ended: how many episodes are over.
        steps: policy steps that were played in them.
    """

    def __init__(self, env: VectorEnv, num_tracks: int):
        super().__init__(env)
        self.tracks: dict[int, Track] = {}
        self.ended = 0
        self.steps = 0
        self._courses: dict[int, _Course] = {}
        self._num_tracks = {True: num_tracks, False: num_tracks}
        self._observations: Mapping[str, np.ndarray] = {}
        self._rewards: np.ndarray | None = None  # None right after a reset
        self._done = np.zeros(self.num_envs, bool)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the environment and remembers its observations."""
        self._observations, infos = self.env.reset(seed=seed, options=options)
        self._rewards = None
        self._done = np.zeros(self.num_envs, bool)
        return self._observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps the environment and remembers what came of it."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        self._observations, self._rewards = observations, rewards
        self._done = np.logical_or(terminated, truncated)
        return observations, rewards, terminated, truncated, infos

    def on_step(self, env: Any, infos: dict[str, Any], episodes: np.ndarray) -> None:
        """Records the latest reset or step for the episodes (num_envs,) being played, -1: none."""
        success = task_success(infos, self.num_envs)
        for lane in np.flatnonzero(episodes >= 0):
            course = self._courses.setdefault(int(episodes[lane]), _Course())
            if self._rewards is not None:
                self.steps += 1
                self._add_figures(course, infos, lane)
                if success is not None and success[lane] and not course.success:
                    course.success, course.success_step = True, course.length
            else:
                course.cube_start = self._cube_place(lane)
            self._add_to_track(course.track, infos, lane)
            if self._done[lane]:
                if self._num_tracks[course.success] > 0:
                    self._num_tracks[course.success] -= 1
                    self.tracks[int(episodes[lane])] = course.track
                self.ended += 1
                course.track = Track()  # frees the pictures of the episodes that are not kept

    def episodes(self, result: EvaluationResult, seed: int) -> list[Episode]:
        """The recorded episodes with the figures of `result`; `seed` is that of the first one."""
        return [
            Episode(
                index=k,
                seed=seed + k,
                success=course.success,
                reward=float(result.reward[k]),
                length=course.length,
                max_cube_height=course.max_cube_z,
                time_to_lift=self._seconds(course.success_step),
                unstable=course.unstable,
                cube_start=course.cube_start,
                cube_z=course.cube_z,
                step_reward=course.step_reward,
                is_grasping=course.is_grasping,
                jaw_angle=course.jaw_angle,
                gripper_to_cube=course.gripper_to_cube,
            )
            for k, course in sorted(self._courses.items())
        ]

    def _cube_place(self, lane: int) -> tuple[float, float]:
        x, y, _ = self.env.unwrapped.task.sim.cube_pos[lane]  # type: ignore[attr-defined]
        return float(x), float(y)

    def _seconds(self, control_steps: int | None) -> float | None:
        return None if control_steps is None else control_steps * CONTROL_PERIOD

    def _add_figures(self, course: _Course, infos: dict[str, Any], lane: int) -> None:
        assert self._rewards is not None
        if self._done[lane]:
            info = final_info(infos, lane) or {}
        else:
            info = {key: infos[key][lane] for key in _FIGURES}
        course.step_reward.append(float(self._rewards[lane]))
        course.cube_z.append(float(info["cube_z"]))
        course.max_cube_z = float(info["max_cube_z"])
        course.is_grasping.append(bool(info["is_grasping"]))
        course.jaw_angle.append(float(info["jaw_angle"]))
        course.gripper_to_cube.append(float(info["gripper_to_cube"]))
        course.length = int(info["episode_steps"])
        course.unstable = bool(info["unstable"])

    def _add_to_track(self, track: Track, infos: dict[str, Any], lane: int) -> None:
        if not any(self._num_tracks.values()):
            return
        if self._done[lane]:  # the simulation has started its next episode already
            last, observation = final_info(infos, lane) or {}, final_obs(infos, lane)
            qpos, seen = last["qpos"], last["seen_qpos"]
        else:
            sim = self.env.unwrapped.task.sim  # type: ignore[attr-defined]
            shown = sim.view(np.array([lane]))
            qpos, seen = sim.qpos[lane], shown.qpos[0]
            track.look = None if shown.looks is None else shown.looks[0]
            if shown.cube_half_size is not None:
                track.cube_half_size = float(shown.cube_half_size[0])
            observation = {key: rows[lane] for key, rows in self._observations.items()}
        track.qpos.append(qpos.copy())
        track.seen.append(seen.copy())
        if IMAGE in observation:
            track.pictures.append(observation[IMAGE][-1].copy())
