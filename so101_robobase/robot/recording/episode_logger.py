"""Keeps what the joints did in each episode of a rollout, as files for `replay` and `identify`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robobase.errors import UserError
from so101_robobase.robot.recording.episode_log import EpisodeLog

_LEAST_TICKS = 2


class EpisodeLogger:
    """Writes `episode_000.npz` … into `folder`, one per episode that is kept.

    Args:
        meta: what every file says of itself.
        state: called when an episode begins, for what this one says beside it.

    Attributes:
        failure: in words, why an episode could not be written, or None.
    """

    def __init__(
        self, folder: Path, meta: Mapping[str, Any], state: Callable[[], Mapping[str, Any]] = dict
    ):
        self._folder, self._meta, self._state = folder, dict(meta), state
        self.failure: str | None = None
        self._episode = 0
        self._begin_meta: dict[str, Any] = {}
        self._rows: list[tuple[float, np.ndarray, np.ndarray]] = []

    def begin(self, episode: int) -> None:
        """Episode `episode` begins."""
        self._episode, self._rows = episode, []
        self._begin_meta = {**self._meta, **self._state()}

    def tick(self, time: float, measured: np.ndarray, commanded: np.ndarray) -> None:
        """One control tick: time of the reading (s), what was measured and sent, (6,) rad."""
        self._rows.append((time, measured.copy(), commanded.copy()))

    def end(self, keep: bool) -> None:
        """The episode is over. Never raises for a disk that is full; see `failure`."""
        rows, self._rows = self._rows, []
        if not keep or len(rows) < _LEAST_TICKS:
            return
        times, measured, commanded = (np.array(column) for column in zip(*rows, strict=True))
        log = EpisodeLog(times - times[0], measured, commanded, self._begin_meta)
        path = self._folder / f"episode_{self._episode:03d}.npz"
        try:
            log.save(path)
        except (OSError, UserError) as error:
            reason = getattr(error, "strerror", None) or error
            self.failure = f"{path} cannot be written ({reason})"
