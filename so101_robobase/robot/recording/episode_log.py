"""What one episode's joints did: times, measured positions, commanded targets, in one file.

`rollout` writes it, `replay` and `identify` read it; LeRobot's datasets can be read as the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robobase.errors import UserError
from robobase.reading import MIB, plain_json, read_npz, reason
from so101_robobase.arm.alignment import Units
from so101_robobase.arm.joints import JOINTS, NUM_JOINTS
from so101_robobase.base.files import written_whole
from so101_robobase.robot.recording.lerobot_format import (
    INFO,
    MOST_ROWS,
    data_files,
    numbers,
    read_columns,
    read_info,
    vectors,
)

FORMAT = 1
"""Version of the file."""

_EPISODE, _TIME, _STATE, _ACTION = "episode_index", "timestamp", "observation.state", "action"
_ARRAYS = ("times", "measured", "commanded")
_MOST_BYTES = 256 * MIB  # of a file, unpacked: weeks at 50 Hz
_LONGEST = 3600.0  # s
_FURTHEST = 100.0  # rad: 16 turns
_CUBE_WITHIN = 100.0  # m


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
                wanted = (length, NUM_JOINTS)
                raise UserError(f"{name} of an episode has shape {shape}, not {wanted}")
        for name in _ARRAYS:
            if not np.isfinite(getattr(self, name)).all():
                raise UserError(f"{name} of an episode holds nan or inf")
        gaps = np.diff(self.times)
        if not (gaps > 0).all():
            raise UserError("times of an episode do not rise from tick to tick")
        if self.duration > _LONGEST:
            raise UserError(f"an episode lasts {self.duration:.3g} s; at most {_LONGEST:.0f} s")
        furthest = max(np.abs(self.measured).max(), np.abs(self.commanded).max())
        if furthest > _FURTHEST:
            raise UserError(f"an episode has a joint at {furthest:.3g} rad; at most {_FURTHEST}")
        _check_meta(self.meta)

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
        entries = read_npz(path, _MOST_BYTES, "recording", _EXPECTED)
        missing = [key for key in ("format", "meta", *_ARRAYS) if key not in entries]
        if missing:
            raise UserError(f"recording {path} has no {', '.join(missing)}; {_EXPECTED}")
        version = entries["format"]
        if version.shape or version != FORMAT:
            raise UserError(
                f"recording {path} has format {str(version)[:20]}; this version reads {FORMAT}"
            )
        try:
            arrays = {name: entries[name] for name in _ARRAYS}
            return cls(**arrays, meta=plain_json(str(entries["meta"])))
        except (UserError, ValueError, TypeError) as error:
            raise UserError(f"recording {path}: {reason(error)}") from error


def _check_meta(meta: Any) -> None:
    """UserError where known keys hold what cannot be used."""
    if not isinstance(meta, Mapping):
        raise UserError("what is said about the episode is no group of keys")
    if not isinstance(meta.get("alignment") or {}, Mapping):
        raise UserError("the episode's alignment is no group of keys")
    cube = meta.get("cube")
    if cube is None:
        return
    try:
        pose = np.array(cube, np.float64)
    except (TypeError, ValueError, OverflowError):
        pose = np.empty(0)
    if pose.shape != (7,) or not (np.abs(pose) <= _CUBE_WITHIN).all() or not pose[3:].any():
        raise UserError(f"the episode's cube is {cube!r}, not a position and a quaternion")


_EXPECTED = "give an .npz that `so101_robobase robot rollout` wrote"


def read(path: Path, units: Units) -> list[EpisodeLog]:
    """Episodes of a recording (.npz), of a folder of them, or of a LeRobotDataset.

    `units` convert a dataset's servo units. Raises UserError where there is none.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; {_EXPECTED} or the folder of a LeRobotDataset")
    if not path.is_dir():
        return [EpisodeLog.load(path)]
    if (path / INFO).is_file():
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
        UserError: pyarrow (it comes with LeRobot) is missing, there is no such dataset or episode,
            or its state and action are not the six joints.
    """
    if not (folder / INFO).is_file():
        raise UserError(f"{folder} is no LeRobotDataset (it has no {INFO})")
    info = read_info(folder, "give the folder of another")
    names = [f"{joint}.pos" for joint in JOINTS]
    for key in (_STATE, _ACTION):
        found = info["features"].get(key, {}).get("names")
        if found != names:
            raise UserError(f"{key} of the dataset {folder} holds {found}; it must hold {names}")
    indices, times, states, actions = _steps(folder)
    order = np.argsort(indices, kind="stable")
    present, starts = np.unique(indices[order], return_index=True)
    rows = dict(zip(present.tolist(), np.split(order, starts[1:]), strict=True))
    wanted = list(rows) if episodes is None else episodes
    absent = [episode for episode in wanted if episode not in rows]
    if absent:
        raise UserError(
            f"the dataset {folder} has no episode {absent[0]}; it has {min(rows)} to {max(rows)}"
        )
    return [
        EpisodeLog(
            times[rows[episode]],
            units.to_model(states[rows[episode]]),
            units.to_model(actions[rows[episode]]),
            {"control_period": 1 / info["fps"], "source": f"{folder}, episode {episode}"},
        )
        for episode in wanted
    ]


def _steps(folder: Path) -> tuple[np.ndarray, ...]:
    """Of all rows of a dataset: episode (N,), time (N,) s, state (N, 6), action (N, 6)."""
    parts: list[tuple[np.ndarray, ...]] = []
    for path in data_files(folder):
        columns = read_columns(path, [_EPISODE, _TIME, _STATE, _ACTION])
        parts.append(
            (
                *(numbers(path, name, columns[name]) for name in (_EPISODE, _TIME)),
                *(vectors(path, name, columns[name], NUM_JOINTS) for name in (_STATE, _ACTION)),
            )
        )
        if sum(len(part[0]) for part in parts) > MOST_ROWS:
            raise UserError(f"the dataset {folder} has more than {MOST_ROWS:,} steps; split it")
    if not parts:
        raise UserError(f"the dataset {folder} holds no steps (data/*/*.parquet)")
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))
