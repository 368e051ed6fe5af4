"""What the policy saw last, where an episode failed: one picture per failed episode."""

from collections import deque
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from so101_robobase.base.files import written_whole
from so101_robobase.robot.recording.background import BackgroundListener, reason
from so101_robobase.robot.recording.records import PolicyTick
from so101_robobase.vision import pictures
from so101_robobase.vision.observation import center_crop

_SHOWN = 6  # steps
_EVERY = 0.2  # s at least between two of them
_EDGE = 168  # pixels of a tile


class LastPictures(BackgroundListener):
    """Writes `episode_000_failed.png` … into `folder` for episodes that were no success.

    Columns are moments, the last one to the right; rows are the camera, where there is one, and
    the policy's picture: class ids and disparity, or colours.
    """

    def __init__(self, folder: Path, say: Callable[[str], object] = print):
        self._folder, self._say = folder, say
        self._episode = 0
        self._ticks: deque[PolicyTick] = deque(maxlen=_SHOWN)
        super().__init__("last pictures")

    def _begin(self, episode: int) -> None:
        self._episode = episode
        self._ticks.clear()

    def _tick(self, tick: PolicyTick) -> None:
        # The newest is always there; those before it are some time apart.
        if len(self._ticks) > 1 and self._ticks[-1].time - self._ticks[-2].time < _EVERY:
            self._ticks.pop()
        self._ticks.append(tick)

    def _end(self, success: bool | None, keep: bool) -> None:
        path = self._folder / f"episode_{self._episode:03d}_failed.png"
        if success or (success is None and keep):  # nobody says that it failed
            path.unlink(missing_ok=True)  # of an earlier try
        elif self._ticks:
            columns = [np.vstack(_tiles(tick)) for tick in self._ticks]
            with written_whole(path) as partial:
                Image.fromarray(np.hstack(columns)).save(partial, format="png")

    def _close(self) -> None:
        self._ticks.clear()

    def _failed(self, error: Exception) -> None:
        self._say(f"no pictures of failed episodes in {self._folder}: {reason(error)}")


def _tiles(tick: PolicyTick) -> list[np.ndarray]:
    """From top to bottom, RGB."""
    shown: list[tuple[str, np.ndarray]] = []
    if tick.frame is not None:
        square = center_crop(tick.frame, axes=(0, 1))[..., ::-1]
        shown.append(("camera", cv2.resize(square, (_EDGE, _EDGE), interpolation=cv2.INTER_AREA)))
    if len(tick.picture) == 3:
        colors = np.moveaxis(tick.picture, 0, -1)
        shown.append(("seen", cv2.resize(colors, (_EDGE, _EDGE), interpolation=cv2.INTER_NEAREST)))
    else:
        shown.append(("class ids", pictures.segmentation(tick.picture[0], _EDGE)))
        shown += [("disparity", pictures.disparity(one, _EDGE)) for one in tick.picture[1:]]
    return [
        pictures.caption(one.astype(np.uint8), f"{name} {tick.time:.2f} s") for name, one in shown
    ]
