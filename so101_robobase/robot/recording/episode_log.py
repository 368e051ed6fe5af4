"""What one episode's joints did: times, measured positions, commanded targets, in one file.

`rollout` writes it, `replay` and `identify` read it; LeRobot's datasets can be read as the same.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robobase.errors import UserError
from so101_robobase.alignment import Units
from so101_robobase.files import written_whole
from so101_robobase.joints import JOINTS, NUM_JOINTS
from so101_robobase.robot.extras import require

_DATASET = Path("meta/info.json")  # what makes a folder a LeRobotDataset

FORMAT = 1
"""Version of the file."""

_ARRAYS = ("times", "measured", "commanded")


@dataclass(frozen=True, eq=False)
class EpisodeLog:
    """One episode of T control ticks. Raises UserError for arrays that are not one.

    Tick k reads the joints at `times[k]` and then sends `commanded[k]`, which the servos keep until
    the next tick. The arm is at rest, and has been told to stay there, when the episode begins.

    Attributes:
        times: (T,) s, rising.
        measured: (T, 6) rad in `JOINTS` order.
        commanded: (T, 6) rad, as sent: after every limit.
        meta: plain values. Known keys: `alignment` (`alignment.to_plain`) that the radians were
            made with, `control_period` (s), `snapshot` (path), `cube` (7 numbers of the cube's
            position and quaternion at the start, where it is known), `source`.
    """

    times: np.ndarray
    measured: np.ndarray
    commanded: np.ndarray
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        length = len(self.times) if self.times.ndim == 1 else 0
        if length < 2:
            raise UserError(f"an episode needs at least 2 ticks; times have {self.times.shape}")
        for name in ("measured", "commanded"):
            shape = getattr(self, name).shape
            if shape != (length, NUM_JOINTS):
                raise UserError(f"{name} of an episode has shape {shape}, not {(length, 6)}")
        for name in _ARRAYS:
            if not np.isfinite(getattr(self, name)).all():
                raise UserError(f"{name} of an episode holds nan or inf")
        if not (np.diff(self.times) > 0).all():
            raise UserError("times of an episode do not rise from tick to tick")

    def __len__(self) -> int:
        return len(self.times)

    @property
    def duration(self) -> float:
        """From the first tick to the last, s."""
        return float(self.times[-1] - self.times[0])

    def save(self, path: Path) -> None:
        """Write an NPZ, whole or not at all."""
        with written_whole(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(
                file,
                format=np.array(FORMAT),
                meta=np.array(json.dumps(dict(self.meta))),
                **{name: getattr(self, name) for name in _ARRAYS},
            )

    @classmethod
    def load(cls, path: Path) -> "EpisodeLog":
        """Read what `save` wrote. Raises UserError for a missing, damaged or other file."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                entries = {key: stored[key] for key in stored.files}
        except OSError as error:
            reason = error.strerror or "not an NPZ file"
            raise UserError(f"recording {path} cannot be read ({reason}); {_EXPECTED}") from error
        except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"recording {path} is damaged or no recording; {_EXPECTED}") from error
        missing = [key for key in ("format", "meta", *_ARRAYS) if key not in entries]
        if missing:
            raise UserError(f"recording {path} has no {', '.join(missing)}; {_EXPECTED}")
        if (version := entries["format"].tolist()) != FORMAT:
            raise UserError(f"recording {path} has format {version}; this version reads {FORMAT}")
        try:
            arrays = {name: entries[name] for name in _ARRAYS}
            return cls(**arrays, meta=json.loads(str(entries["meta"])))
        except (UserError, ValueError, TypeError) as error:
            raise UserError(f"recording {path}: {error}") from error


_EXPECTED = "give an .npz that `so101_robobase robot rollout` wrote"


def read(path: Path, units: Units) -> list[EpisodeLog]:
    """Episodes of a recording (.npz), of a folder of them, or of a LeRobotDataset.

    `units` convert a dataset's servo units. Raises UserError where there is none.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; {_EXPECTED} or the folder of a LeRobotDataset")
    if not path.is_dir():
        return [EpisodeLog.load(path)]
    if (path / _DATASET).is_file():
        return read_dataset(path, units)
    files = sorted(path.glob("*.npz"))
    if not files:
        raise UserError(f"{path} holds no recordings (.npz) and is no LeRobotDataset")
    return [EpisodeLog.load(file) for file in files]


def read_dataset(folder: Path, units: Units, episodes: list[int] | None = None) -> list[EpisodeLog]:
    """Episodes (default all) of the LeRobotDataset in `folder`, recorded with an SO-101 follower.

    `units` convert its servo units: degrees for the arm, 0 to 100 for the gripper. Its time stamps
    are nominal, frame / fps; what LeRobot's own tools record as actions has not been clipped.

    Raises:
        UserError: LeRobot is not installed, there is no such dataset or episode, or its state and
            action are not the six joints.
    """
    lerobot = require("lerobot.datasets.lerobot_dataset")
    if not (folder / _DATASET).is_file():
        raise UserError(f"{folder} is no LeRobotDataset (it has no {_DATASET})")
    try:
        dataset = lerobot.LeRobotDataset(folder.name, root=folder, download_videos=False)
    except Exception as error:  # LeRobot and its libraries raise of all kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"LeRobot cannot read the dataset {folder}: {reason}") from error
    names = [f"{joint}.pos" for joint in JOINTS]
    for key in ("observation.state", "action"):
        found = dataset.features.get(key, {}).get("names")
        if found != names:
            raise UserError(f"{key} of the dataset {folder} holds {found}; it must hold {names}")
    table = dataset.hf_dataset.select_columns(
        ["episode_index", "timestamp", "observation.state", "action"]
    ).with_format("numpy")[:]
    present = np.unique(table["episode_index"]).tolist()
    wanted = present if episodes is None else episodes
    absent = [episode for episode in wanted if episode not in present]
    if absent:
        raise UserError(f"the dataset {folder} has no episode {absent[0]}; it has {present}")
    logs = []
    for episode in wanted:
        rows = table["episode_index"] == episode
        logs.append(
            EpisodeLog(
                table["timestamp"][rows],
                units.to_model(np.stack(list(table["observation.state"][rows]))),
                units.to_model(np.stack(list(table["action"][rows]))),
                {
                    "control_period": 1 / dataset.fps,
                    "source": f"{folder}, episode {episode}",
                },
            )
        )
    return logs
