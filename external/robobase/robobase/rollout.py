"""What the training episodes achieved, and how fast: returns, lengths, successes, rates."""

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from robobase.progress import Progress
from robobase.resume_checks import expect, is_count, is_number

_NOT_LOGGED = ("task_success", "unstable", "demo")  # counted per episode, or always 0
WINDOW = 100  # finished episodes the means are taken over, as in Stable-Baselines3


class EpisodeTracker:
    """Running episodes of N environments, and the last finished ones."""

    def __init__(self, num_envs: int):
        self.count = 0  # finished episodes since the start of the run
        self.unstable: int | None = None  # of them with a failed simulation; None: not reported
        self._reward = np.zeros(num_envs)
        self._length = np.zeros(num_envs, dtype=np.int64)
        self._success = np.zeros(num_envs, dtype=bool)
        self._finished: deque[tuple[float, int, bool | None]] = deque(maxlen=WINDOW)
        self._reports = False  # whether success was ever reported; no report is then no success

    def add(
        self,
        reward: np.ndarray,
        done: np.ndarray,
        success: np.ndarray | None,
        unstable: np.ndarray | None = None,
    ) -> np.ndarray:
        """Count one vector step.

        Args:
            reward: (N,) float.
            done: (N,) bool, terminated or truncated.
            success: (N,) bool, or None where the environments do not report success.
            unstable: (N,) bool, episodes whose simulation failed; None where not reported.

        Returns:
            (N,) bool: episodes that ended in this step with a success anywhere in them.
        """
        self._reward += reward
        self._length += 1
        if unstable is not None:
            self.unstable = (self.unstable or 0) + int(unstable.sum())
        if success is not None:
            self._reports = True
            self._success |= success
        succeeded = self._success & done
        for i in np.flatnonzero(done):
            reached = bool(self._success[i]) if self._reports else None
            self._finished.append((float(self._reward[i]), int(self._length[i]), reached))
        self.count += int(done.sum())
        self.forget(done)
        return succeeded

    def forget(self, lanes: np.ndarray | slice = slice(None)) -> None:
        """Drop the running episodes of these environments."""
        self._reward[lanes], self._length[lanes], self._success[lanes] = 0.0, 0, False

    def metrics(self, action_repeat: int) -> dict[str, float]:
        """Means over the last finished episodes; lengths in env steps. Empty before the first.

        `unstable_episodes` counts from the start of the run, where environments report it.
        """
        if not self._finished:
            return {}
        rewards, lengths, successes = zip(*self._finished, strict=True)
        metrics = {
            "episode_reward": float(np.mean(rewards)),
            "episode_length": float(np.mean(lengths)) * action_repeat,
        }
        reported = [s for s in successes if s is not None]
        if reported:
            metrics["episode_success"] = float(np.mean(reported))
        if self.unstable is not None:
            metrics["unstable_episodes"] = self.unstable
        return metrics

    def state_dict(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "unstable": self.unstable,
            "running": [self._reward.tolist(), self._length.tolist(), self._success.tolist()],
            "finished": list(self._finished),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore; running episodes only where the number of environments is still the same.

        Raises:
            ValueError: what `state_dict` does not give.
        """
        _check(state)
        self.count = state["count"]
        self.unstable = state.get("unstable")
        self._finished = deque(state["finished"], maxlen=WINDOW)
        self._reports = any(reached is not None for *_, reached in self._finished)
        reward, length, success = state["running"]
        if len(reward) == len(self._reward):
            self._reward[:], self._length[:], self._success[:] = reward, length, success


class Rates:
    """How fast a run collects and learns, over the wall-clock time since it was last asked."""

    def __init__(self, progress: Progress):
        self._last = (time.monotonic(), progress.env_steps, progress.updates)

    def since_last(self, progress: Progress, batch_size: int) -> dict[str, float]:
        """Rates per second; `agent_updates_per_second` counts samples, as RoboBase does."""
        then, old_steps, old_updates = self._last
        self._last = (time.monotonic(), progress.env_steps, progress.updates)
        seconds = max(self._last[0] - then, 1e-9)
        updates_per_second = (progress.updates - old_updates) / seconds
        return {
            "env_steps_per_second": (progress.env_steps - old_steps) / seconds,
            "agent_batched_updates_per_second": updates_per_second,
            "agent_updates_per_second": updates_per_second * batch_size,
        }


def _check(state: Any) -> None:
    """Raise ValueError unless `state` is one of an `EpisodeTracker`."""
    expect(isinstance(state, dict) and is_count(state.get("count")), "episodes: count")
    unstable = state.get("unstable")
    expect(unstable is None or is_count(unstable), "episodes: unstable")
    running, finished = state.get("running"), state.get("finished")
    expect(
        isinstance(running, list | tuple)
        and len(running) == 3
        and all(isinstance(lane, list | tuple) for lane in running)
        and len({len(lane) for lane in running}) == 1
        and all(map(is_number, running[0]))
        and all(map(is_count, running[1]))
        and all(isinstance(success, bool) for success in running[2]),
        "episodes: running",
    )
    expect(
        isinstance(finished, list | tuple)
        and len(finished) <= WINDOW
        and all(
            isinstance(episode, list | tuple)
            and len(episode) == 3
            and is_number(episode[0])
            and is_count(episode[1])
            and (episode[2] is None or isinstance(episode[2], bool))
            for episode in finished
        ),
        "episodes: finished",
    )


def env_info(infos: Mapping[str, Any]) -> dict[str, float]:
    """`env_info/<key>`: mean of every (N,) number in a step's infos over the environments that
    report it, which the mask `_<key>` tells where not all do."""
    metrics = {}
    for key, value in infos.items():
        if key.startswith(("_", "final_")) or key in _NOT_LOGGED:
            continue
        if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind not in "biuf":
            continue
        reported = value[np.asarray(infos.get(f"_{key}", True)) & np.ones(len(value), dtype=bool)]
        if len(reported):
            metrics[f"env_info/{key}"] = float(reported.mean())
    return metrics
