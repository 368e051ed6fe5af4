"""LeRobot's datasets on disk, format v3.0: where things are, and readers that bound what they take.

What a dataset says about itself may be a stranger's: it is checked before anything is done with it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robobase.errors import UserError
from robobase.reading import MIB, read_json, reason
from so101_robobase.base.extras import require_robot
from so101_robobase.base.files import inside

INFO = Path("meta/info.json")
"""What makes a folder a dataset."""
EPISODES = Path("meta/episodes")
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

MOST_ROWS = 2**21
"""Steps of all episodes that are read: 23 hours at 25 Hz."""

_MOST_BYTES = 2**30  # unpacked, of the columns that are read of one file
_MOST_FILES = 100_000
_LARGEST = 10**9  # of any count in info.json
_COUNTS = {"total_episodes": 0, "total_frames": 0}  # at least
_SIZES = {"chunks_size": 1, "data_files_size_in_mb": 1, "video_files_size_in_mb": 1}


def read_info(root: Path, remedy: str) -> dict[str, Any]:
    """The dataset's meta/info.json: counts, rate and features are what they should be.

    Raises UserError, ending with `remedy`, where they are not.
    """

    def refuse(why: str) -> UserError:
        return UserError(f"{root} is not a LeRobotDataset that can be used ({why}); {remedy}")

    try:
        info = read_json(inside(root, str(INFO)), 16 * MIB, "its description")
    except UserError as error:
        raise refuse(str(error)) from error
    if not isinstance(info, dict):
        raise refuse(f"{INFO} holds no keys")
    for name, least in (_COUNTS | _SIZES).items():
        value = info.get(name, least if name in _SIZES else None)
        if type(value) is not int or not least <= value <= _LARGEST:
            raise refuse(f"{name} is {value!r}")
    fps = info.get("fps")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 1 <= fps <= 1000:
        raise refuse(f"fps is {fps!r}")
    features = info.get("features")
    if not isinstance(features, dict) or not all(isinstance(f, dict) for f in features.values()):
        raise refuse("it describes no features")
    return info


def check_layout(root: Path, info: Mapping[str, Any], remedy: str) -> None:
    """UserError unless files of the dataset lie where LeRobot puts them, within `root`."""
    for folder in ("data", "videos", "meta", str(EPISODES)):
        inside(root, folder)
    for name, wanted in (("data_path", DATA_PATH), ("video_path", VIDEO_PATH)):
        found = info.get(name)
        if found != wanted and not (name == "video_path" and found is None):
            raise UserError(
                f"dataset {root} puts files elsewhere than LeRobot ({name} is {found!r}, not "
                f"{wanted!r}); {remedy}"
            )


def data_files(root: Path) -> list[Path]:
    """Its parquet files of steps, in their order. UserError where one leads out of `root`."""
    return _within(root, "data", "*/*.parquet")


def episode_files(root: Path) -> list[Path]:
    """Its parquet files of what is known of episodes, in their order, as `data_files`."""
    return _within(root, str(EPISODES), "*/*.parquet")


def newest_episodes(root: Path, count: int, videos: Sequence[str]) -> Path:
    """The file that holds what is known of the last of `count` episodes.

    Args:
        videos: features that are videos.

    Raises UserError: there is none, or what it says cannot be.
    """
    for path in reversed(episode_files(root)):
        indices = _whole(path, "episode_index")
        # A kill in `save` may leave the file of an episode that info.json does not count.
        if indices[0] >= count:
            continue
        places = [_whole(path, name)[-1] for pair in _places(videos).values() for name in pair]
        if indices[-1] != count - 1 or min(places) < 0 or max(places) >= _MOST_FILES:
            break
        return path
    raise UserError(f"dataset {root}: {EPISODES} is lost or does not agree with {INFO}")


def files_in_use(root: Path, count: int, videos: Sequence[str]) -> set[str]:
    """Files of the first `count` episodes, relative to the dataset; arguments as above."""
    files = set()
    for path in episode_files(root):
        counted = _whole(path, "episode_index") < count
        for stem, names in _places(videos).items():
            chunks, numbers = (_whole(path, name)[counted].tolist() for name in names)
            suffix = "mp4" if stem.startswith("videos/") else "parquet"
            for chunk, number in {*zip(chunks, numbers, strict=True)}:
                files.add(f"{stem}/chunk-{chunk:03d}/file-{number:03d}.{suffix}")
    return files


def check_metadata(path: Path) -> None:
    """UserError unless LeRobot can read the whole parquet file without running out of memory."""
    parquet = require_robot("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path) as file:
            metadata = file.metadata
            _check_size(path, metadata, [column.name.split(".")[0] for column in metadata.schema])
            groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
            columns = [group.column(k) for group in groups for k in range(group.num_columns)]
            # One long text, named by every row, is short in the file.
            texts = sum(
                column.num_values * column.total_uncompressed_size
                for column in columns
                if column.physical_type == "BYTE_ARRAY"
            )
    except UserError:
        raise
    except Exception as error:  # pyarrow raises of all kinds
        raise UserError(f"{path} is damaged ({reason(error)})") from error
    if texts > _MOST_BYTES:
        raise UserError(f"{path} may unpack to more than is read")


def read_columns(path: Path, columns: Sequence[str]) -> dict[str, Any]:
    """Columns (pyarrow's) of a parquet file, its metadata checked before anything is unpacked.

    Raises UserError: pyarrow (LeRobot) is missing, or the file is damaged, too large, or lacks one.
    """
    parquet = require_robot("pyarrow.parquet")
    try:
        if not path.is_file():
            raise UserError(f"{path} is missing or no regular file")
        with parquet.ParquetFile(path) as file:
            _check_size(path, file.metadata, columns)
            table = file.read(columns=list(columns), use_threads=False)
        return {name: table.column(name).combine_chunks() for name in columns}
    except UserError:
        raise
    except Exception as error:  # pyarrow raises of all kinds
        raise UserError(f"{path} is damaged or lacks a column ({reason(error)})") from error


def numbers(path: Path, name: str, column: Any) -> np.ndarray:
    """(N,) of a column of `read_columns` that holds a number in every row."""
    try:
        values = column.to_numpy(zero_copy_only=False)
        if values.dtype.kind in "iuf":
            return values
    except Exception as error:  # pyarrow's
        raise UserError(f"{path}: {name} cannot be read ({reason(error)})") from error
    raise UserError(f"{path}: {name} holds {column.type} with gaps, not numbers")


def vectors(path: Path, name: str, column: Any, width: int) -> np.ndarray:
    """(N, `width`) of a column of `read_columns` that holds so many numbers in every row."""
    try:
        lengths = np.diff(column.offsets.to_numpy()) if hasattr(column, "offsets") else None
        fixed = column.type.list_size if lengths is None else width
        values = numbers(path, name, column.flatten())
    except (AttributeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: {name} holds {column.type}, not lists") from error
    if (
        fixed != width
        or column.null_count
        or (lengths is not None and (lengths != width).any())
        or values.shape != (len(column) * width,)
    ):
        raise UserError(f"{path}: {name} must hold {width} numbers in every row")
    return values.reshape(-1, width)


def _whole(path: Path, name: str) -> np.ndarray:
    values = numbers(path, name, read_columns(path, [name])[name])
    if values.dtype.kind not in "iu":
        raise UserError(f"{path}: {name} holds no whole numbers")
    return values


def _places(videos: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Folder -> columns that say in which of its chunks and files an episode is."""
    stems = ("data", str(EPISODES), *(f"videos/{key}" for key in videos))
    return {stem: (f"{stem}/chunk_index", f"{stem}/file_index") for stem in stems}


def _check_size(path: Path, metadata: Any, columns: Sequence[str]) -> None:
    """UserError where the file says that it holds more than is read, or what nobody may hold."""
    if not 0 < metadata.num_rows <= MOST_ROWS:
        raise UserError(f"{path} holds {metadata.num_rows} rows; 1 to {MOST_ROWS:,} are read")
    size = values = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group)
        for index in range(rows.num_columns):
            column = rows.column(index)
            if column.path_in_schema.split(".")[0] in {name.split(".")[0] for name in columns}:
                size += column.total_uncompressed_size
                values = max(values, column.num_values)
    if size > _MOST_BYTES or values > 32 * MOST_ROWS:
        raise UserError(f"{path} unpacks to more than is read")


def _within(root: Path, folder: str, pattern: str) -> list[Path]:
    start = inside(root, folder)
    files = sorted(start.glob(pattern))
    if len(files) > _MOST_FILES:
        raise UserError(f"{root / folder} holds {len(files)} files; {_MOST_FILES} are read")
    return [inside(root, str(Path(folder, path.relative_to(start)))) for path in files]
