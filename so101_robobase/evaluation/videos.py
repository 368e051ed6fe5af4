"""Videos of chosen evaluation episodes, drawn afterwards from their recorded poses."""

import os
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
from tqdm import tqdm

from robobase.video import video_writer
from so101_robobase.base.files import check_replaceable
from so101_robobase.evaluation.recording import Track
from so101_robobase.evaluation.statistics import Episode
from so101_robobase.sim.views import Views
from so101_robobase.vision import pictures
from so101_robobase.vision.kinds import KINDS, Source

_CUBE_Z = -5  # in qpos, whose last 7 are the cube's pose


class Videos:
    """Draws episodes as camera pictures in a grid, beside them what the policy saw.

    The scene has the looks that the episode had, and the wrist camera's colours stand beside the
    ids and disparity that came from it.

    Args:
        views: draws the cameras; None (no OpenGL) leaves the observation panels alone.
        cameras: names for `views`; four make a 2x2 grid, any other number a row.
        size: edge of each square tile, pixels.
        observation: kind of the policy's pictures: seg_depth, seg, rgb or state.
        fps: policy steps per second, so that the video runs in real time.
    """

    def __init__(
        self,
        views: Views | None,
        cameras: Sequence[str],
        size: int,
        observation: str,
        fps: float,
    ):
        self._views = views
        self._cameras = tuple(cameras) if views else ()
        self._size = size
        self._observation = observation
        self._fps = fps

    def write(
        self, folder: Path, episodes: Sequence[Episode], tracks: Mapping[int, Track]
    ) -> list[Path]:
        """Writes `episode_<index>_<success|failure>.mp4` for each episode; returns the paths."""
        frames = sum(len(tracks[episode.index].qpos) for episode in episodes)
        paths = []
        with tqdm(total=frames, desc="videos", unit="frame", leave=False) as bar:
            for episode in episodes:
                outcome = "success" if episode.success else "failure"
                path = folder / f"episode_{episode.index:03d}_{outcome}.mp4"
                self._write_one(path, episode, tracks[episode.index], bar)
                paths.append(path)
        return paths

    def frame(self, episode: Episode, track: Track, t: int) -> pictures.Image:
        """The picture of the state after `t` policy steps, (H, W, 3) uint8; H and W are even."""
        dressed = track.look, track.cube_half_size
        tiles, seen = [], []
        if self._views:
            views = self._views.render(track.qpos[t], self._cameras, *dressed)
            tiles = [pictures.caption(views[name], name) for name in self._cameras]
            if not KINDS[self._observation].sees(Source.COLORS):
                wrist = self._views.wrist(track.seen[t], *dressed)
                seen.append(pictures.caption(wrist, "wrist camera"))
        if track.pictures:
            picture = track.pictures[t]
            seen += pictures.observation_panels(picture, self._observation, self._size)
        image = pictures.beside(pictures.grid(tiles), seen) if tiles else pictures.grid(seen)
        outcome = "success" if episode.success else "failure"
        text = (
            f"episode {episode.index} ({outcome})  {t / self._fps:4.1f} s"
            f"  cube {100 * track.qpos[t][_CUBE_Z]:4.1f} cm"
        )
        image = np.vstack([image, pictures.strip(image.shape[1], text)])
        return image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]  # H.264 needs it

    def _write_one(self, path: Path, episode: Episode, track: Track, bar: tqdm) -> None:
        check_replaceable(path)
        temporary = path.with_stem(f".{path.stem}.part")
        temporary.unlink(missing_ok=True)
        try:
            with video_writer(temporary, self._fps) as append:
                for t in range(len(track.qpos)):
                    append(self.frame(episode, track, t))
                    bar.update()
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def choose(episodes: Sequence[Episode], recorded: Mapping[int, Track], count: int) -> list[Episode]:
    """At most `count` recorded episodes: successes and failures in turn, failures first."""
    available = [episode for episode in episodes if episode.index in recorded]
    failures = [episode for episode in available if not episode.success]
    successes = [episode for episode in available if episode.success]
    turns = zip_longest(failures, successes)
    chosen = [episode for pair in turns for episode in pair if episode is not None][:count]
    return sorted(chosen, key=lambda episode: episode.index)
