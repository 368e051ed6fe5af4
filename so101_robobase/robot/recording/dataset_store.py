"""Adds episodes to a LeRobotDataset so that a kill or a full disk at any moment leaves it loadable.

LeRobot keeps parquet files open, and so unreadable, from one episode to the next, and overwrites
its metadata in place. Here each episode is written into a folder beside the dataset, and its
finished files are moved over: data and videos first, then what refers to them.
"""

import contextlib
import errno
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

from robobase.errors import UserError
from so101_robobase.extras import install

_VIDEO_CODEC = "h264"  # a few ms a frame, where LeRobot's default takes a core to itself
_LEAST_ROOM = 100_000_000  # bytes on the disk that an episode may begin with
_ENCODER_QUEUE = 250  # frames; LeRobot drops those that do not fit
_LEROBOTS_OWN = {"timestamp", "frame_index", "episode_index", "index", "task_index"}  # features
_INFO = Path("meta/info.json")
_EPISODES = Path("meta/episodes")
# Whatever a file refers to comes before it.
_MOVED = ("data", "videos", "meta/tasks.parquet", "meta/episodes", "meta/stats.json", str(_INFO))


class EpisodeStore:
    """A LeRobotDataset in folder `root`, made or continued, that grows by whole episodes.

    Args:
        root: the dataset's folder; missing, empty or a dataset of the same features and rate.
        features: as LeRobot's, without the five that it adds itself.
        robot_type: what was recorded; a dataset is continued with the same robot only.

    Attributes:
        num_episodes: in the dataset.
        num_frames: of all its episodes.

    Raises:
        UserError: LeRobot is missing, `root` holds something else, or it cannot be written.
    """

    def __init__(self, root: Path, fps: int, features: dict[str, dict[str, Any]], robot_type: str):
        self.root = Path(root).resolve()
        self._fps, self._features, self._robot_type = fps, features, robot_type
        self._repo_id = f"local/{self.root.name}"
        self._lerobot = _import_lerobot()
        info = _read_info(self.root)
        if info is not None:
            self._check(info)
        self.num_episodes: int = info["total_episodes"] if info else 0
        self.num_frames: int = info["total_frames"] if info else 0
        self._workshop = self.root.with_name(f".{self.root.name}.recording")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._dataset = self._open()
        except OSError as error:
            raise UserError(f"cannot record to {self.root}: {error.strerror or error}") from error

    def add_frame(self, frame: dict[str, Any]) -> None:
        """Append one step to the episode at hand: a value for every feature, and "task"."""
        self._dataset.add_frame(frame)

    def save(self) -> None:
        """The episode at hand (at least two steps) becomes part of the dataset.

        Raises RuntimeError where the video encoder lost frames; nothing is saved then.
        """
        import datasets

        datasets.disable_progress_bars()  # reading the last episode turned them on
        self._dataset.save_episode()
        self._dataset.finalize()
        self._check_videos()
        for name in _MOVED:
            self._move(self._workshop / name)
        info = json.loads((self.root / _INFO).read_text())
        self.num_episodes, self.num_frames = info["total_episodes"], info["total_frames"]
        self._dataset = self._open()

    def discard(self) -> None:
        """Forget the episode at hand."""
        self._dataset.clear_episode_buffer()

    def is_full(self) -> bool:
        """Whether the disk has no room for another episode."""
        return shutil.disk_usage(self.root).free < _LEAST_ROOM

    def close(self) -> None:
        """Forget the episode at hand and remove what is not part of the dataset. Never raises."""
        with contextlib.suppress(Exception):  # after a failure LeRobot may be in any state
            self._dataset.clear_episode_buffer()
            self._dataset.finalize()
        shutil.rmtree(self._workshop, ignore_errors=True)
        if self.num_episodes == 0:
            with contextlib.suppress(OSError):  # not empty: it is somebody's
                self.root.rmdir()

    def _check(self, info: dict[str, Any]) -> None:
        """UserError unless episodes can be added to the dataset that `info` describes."""
        where = f"dataset {self.root}"
        version = self._lerobot.CODEBASE_VERSION
        remedy = "record into another folder"
        if info.get("codebase_version") != version:
            raise UserError(
                f"{where} is of format {info.get('codebase_version')}, LeRobot writes {version}; "
                f"{remedy}"
            )
        for name, value in (("fps", self._fps), ("robot_type", self._robot_type)):
            if info.get(name) != value:
                raise UserError(f"{where} has {name} {info.get(name)}, not {value}; {remedy}")
        known = {
            key: feature for key, feature in info["features"].items() if key not in _LEROBOTS_OWN
        }
        for key in sorted(known.keys() ^ self._features.keys()):
            what = "has" if key in known else "lacks"
            raise UserError(f"{where} {what} the feature {key}, unlike this rollout; {remedy}")
        for key, feature in self._features.items():
            for part in ("dtype", "shape", "names"):
                there, here = (_plain(one.get(part)) for one in (known[key], feature))
                if there != here:
                    raise UserError(f"{where} has {key} with {part} {there}, not {here}; {remedy}")

    def _open(self) -> Any:
        """A LeRobotDataset in the workshop that will write the next episode."""
        if self.is_full():
            raise OSError(errno.ENOSPC, "the disk is full")
        shutil.rmtree(self._workshop, ignore_errors=True)
        dataset_class = self._lerobot.LeRobotDataset
        streaming: dict[str, Any] = {
            "streaming_encoding": True,
            "encoder_queue_maxsize": _ENCODER_QUEUE,
            "encoder_threads": 1,
        }
        newer = hasattr(dataset_class, "resume")  # LeRobot 0.5 and later
        if newer:
            from lerobot.configs import RGBEncoderConfig

            streaming["rgb_encoder"] = RGBEncoderConfig(vcodec=_VIDEO_CODEC)
        else:
            streaming["vcodec"] = _VIDEO_CODEC
        if self.num_episodes and newer:
            self._copy_metadata()
            return dataset_class.resume(self._repo_id, root=self._workshop, **streaming)
        dataset = dataset_class.create(
            self._repo_id,
            self._fps,
            self._features,
            root=self._workshop,
            robot_type=self._robot_type,
            **streaming,
        )
        if self.num_episodes:
            # Opened by its constructor, LeRobot 0.4 would first read all data.
            self._copy_metadata()
            dataset.meta = self._lerobot.LeRobotDatasetMetadata(self._repo_id, self._workshop)
            dataset.episode_buffer = dataset.create_episode_buffer()
        return dataset

    def _copy_metadata(self) -> None:
        """As much of it as the next episode's numbers depend on."""
        files = [path for path in (self.root / "meta").iterdir() if path.is_file()]
        for path in (*files, self._newest_episodes()):
            copy = self._workshop / path.relative_to(self.root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)

    def _newest_episodes(self) -> Path:
        """The file that holds the last episode's metadata."""
        import pyarrow.parquet as pq

        for path in sorted((self.root / _EPISODES).glob("*/*.parquet"), reverse=True):
            first = pq.read_table(path, columns=["episode_index"])["episode_index"][0].as_py()
            # A kill in `save` may leave the file of an episode that info.json does not count.
            if first < self.num_episodes:
                return path
        raise UserError(f"dataset {self.root} has lost its {_EPISODES}; record into another folder")

    def _check_videos(self) -> None:
        import pyarrow.parquet as pq

        newest = max((self._workshop / _EPISODES).glob("*/*.parquet"))
        episode = pq.read_table(newest).slice(0, 1).to_pylist()[0]
        for key, feature in self._features.items():
            if feature["dtype"] != "video":
                continue
            seconds = (
                episode[f"videos/{key}/to_timestamp"] - episode[f"videos/{key}/from_timestamp"]
            )
            lost = episode["length"] - round(seconds * self._fps)
            if lost:
                raise RuntimeError(
                    f"the video encoder lost {lost} frames; this machine is too slow"
                )

    def _move(self, part: Path) -> None:
        for path in sorted(part.rglob("*")) if part.is_dir() else [part]:
            if path.is_file():
                goal = self.root / path.relative_to(self._workshop)
                goal.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, goal)


def _import_lerobot() -> Any:
    """LeRobot's module of datasets; UserError where it is missing. Takes seconds."""
    try:
        import av
        import datasets
        from lerobot.datasets import lerobot_dataset
    except ImportError as error:
        raise UserError(f"--record needs LeRobot ({error}): {install('robot')}") from error
    # Their notices would be printed across the loop's own lines.
    datasets.disable_progress_bars()
    av.logging.set_libav_level(av.logging.ERROR)
    warnings.filterwarnings("ignore", "Converting input from bool", module="lerobot")
    return lerobot_dataset


def _read_info(root: Path) -> dict[str, Any] | None:
    """What the dataset in `root` says about itself; None where nothing is there."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    try:
        info = json.loads((root / _INFO).read_text())
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        info = None
    if not isinstance(info, dict) or not {"total_episodes", "total_frames", "features"} <= set(
        info
    ):
        raise UserError(
            f"{root} exists and is not a LeRobotDataset ({_INFO} is missing or unreadable); "
            "name another folder or remove it"
        )
    return info


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
