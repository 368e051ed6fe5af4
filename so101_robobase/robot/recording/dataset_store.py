"""Adds episodes to a LeRobotDataset so that a kill or a full disk at any moment leaves it loadable.

LeRobot keeps parquet files open, and so unreadable, from one episode to the next, and overwrites
its metadata in place. Here each episode is written into a folder beside the dataset, and its
finished files are moved over: data and videos first, then what refers to them.
"""

import contextlib
import errno
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

from robobase.errors import UserError
from robobase.locks import FolderLock
from robobase.reading import MIB, read_bytes, reason
from so101_robobase.base.extras import install
from so101_robobase.base.files import check_replaceable, inside
from so101_robobase.robot.recording.lerobot_format import (
    EPISODES,
    INFO,
    check_layout,
    check_metadata,
    files_in_use,
    newest_episodes,
    read_info,
)

_VIDEO_CODEC = "h264"  # a few ms a frame, where LeRobot's default takes a core to itself
_LEAST_ROOM = 100_000_000  # bytes on the disk that an episode may begin with
_ENCODER_QUEUE = 250  # frames; LeRobot drops those that do not fit
_LEROBOTS_OWN = {"timestamp", "frame_index", "episode_index", "index", "task_index"}  # features
# Whatever a file refers to comes before it.
_MOVED = ("data", "videos", "meta/tasks.parquet", str(EPISODES), "meta/stats.json", str(INFO))
_REWRITTEN = ("meta/tasks.parquet", "meta/stats.json", str(INFO))  # by each episode
_MOST_METADATA = 64 * MIB  # bytes of each of them
_REMEDY = "record into another folder"


class DatasetStore:
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
        self._videos = [key for key, feature in features.items() if feature["dtype"] == "video"]
        self._copied: Path | None = None  # into the workshop, to be read only
        self._lerobot = _import_lerobot()
        self._workshop = self.root.with_name(f".{self.root.name}.recording")
        made = not self.root.exists()
        if not made and not self.root.is_dir():
            raise UserError(f"{self.root} is not a LeRobotDataset: it is a file; {_REMEDY}")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.root, f"wait until it has ended, or {_REMEDY}")
        except OSError as error:
            raise UserError(f"cannot record to {self.root}: {reason(error)}; {_REMEDY}") from error
        try:
            info = _read_info(self.root)
            if info is not None:
                self._check(info)
            self.num_episodes: int = info["total_episodes"] if info else 0
            self.num_frames: int = info["total_frames"] if info else 0
            self._dataset = self._open()
        except BaseException as error:
            shutil.rmtree(self._workshop, ignore_errors=True)
            self._lock.release()
            if made:
                with contextlib.suppress(OSError):
                    self.root.rmdir()
            if isinstance(error, UserError) or not isinstance(error, Exception):
                raise
            # LeRobot and its libraries raise of all kinds.
            raise UserError(f"cannot record to {self.root}: {reason(error)}; {_REMEDY}") from error

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
        if not self._lock.is_in_place():
            raise UserError(f"{self.root} was removed or renamed meanwhile")
        for path, goal in self._moves():
            goal.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, goal)
        info = read_info(self.root, _REMEDY)
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
        self._lock.release()

    def _check(self, info: dict[str, Any]) -> None:
        """UserError unless episodes can be added to the dataset that `info` describes."""
        where = f"dataset {self.root}"
        version = self._lerobot.CODEBASE_VERSION
        remedy = _REMEDY
        if info.get("codebase_version") != version:
            raise UserError(
                f"{where} is of format {info.get('codebase_version')}, LeRobot writes {version}; "
                f"{remedy}"
            )
        check_layout(self.root, info, remedy)
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
        newest = newest_episodes(self.root, self.num_episodes, self._videos)
        for name in (*_REWRITTEN, newest.relative_to(self.root).as_posix()):
            path = inside(self.root, name)
            if path.suffix == ".parquet":
                check_metadata(path)
            content = read_bytes(path, _MOST_METADATA, "dataset's", _REMEDY)
            copy = self._workshop / name
            if name not in _REWRITTEN:
                self._copied = copy
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)

    def _check_videos(self) -> None:
        import pyarrow.parquet as pq

        newest = max((self._workshop / EPISODES).glob("*/*.parquet"))
        episode = pq.read_table(newest).slice(0, 1).to_pylist()[0]
        for key in self._videos:
            seconds = (
                episode[f"videos/{key}/to_timestamp"] - episode[f"videos/{key}/from_timestamp"]
            )
            lost = episode["length"] - round(seconds * self._fps)
            if lost:
                raise RuntimeError(
                    f"the video encoder lost {lost} frames; this machine is too slow"
                )

    def _moves(self) -> list[tuple[Path, Path]]:
        """From the workshop to the dataset, in order. UserError where a goal may not be written."""
        moves = []
        in_use: set[str] | None = None
        for part in _MOVED:
            source = self._workshop / part
            for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
                if not path.is_file() or path == self._copied:
                    continue
                name = path.relative_to(self._workshop).as_posix()
                inside(self.root, name)
                check_replaceable(self.root / name)
                if name not in _REWRITTEN and (self.root / name).exists():
                    # Left by a kill in `save`, or part of an episode.
                    if in_use is None:
                        in_use = files_in_use(self.root, self.num_episodes, self._videos)
                    if name in in_use:
                        raise UserError(f"{self.root / name} belongs to an earlier episode")
                moves.append((path, self.root / name))
        return moves


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
    return read_info(root, "name another folder or remove it")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
