"""The videos of best snapshots, as many as fit into a page."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robobase.errors import UserError
from robobase.reading import MIB, read_bytes
from so101_robobase.experiments.runs import Run

FOLDER = "eval_videos"
_BEST = "best.mp4"  # what a run leaves when it ends
_MOST = 64 * MIB  # of one video


@dataclass(frozen=True)
class Video:
    """`content` is None where the video was left out for its size."""

    run: Run
    path: Path
    is_best: bool  # else the newest of a run that has not ended
    content: bytes | None

    @property
    def data_url(self) -> str:
        return f"data:video/mp4;base64,{base64.b64encode(self.content or b'').decode()}"


def chosen(groups: Sequence[Sequence[Run]], most_bytes: int) -> list[Video]:
    """The videos of all runs, in order, those within `most_bytes` (as base64) with their content.

    Each group's best run comes first, then each group's second, and so on.
    """
    ranked = [sorted(group, key=_success, reverse=True) for group in groups]
    turns = max(map(len, ranked), default=0)
    inside: dict[int, Video] = {}
    for turn in range(turns):
        for group in ranked:
            if turn < len(group) and (video := _video(group[turn], most_bytes)) is not None:
                most_bytes -= len(video.content or b"") * 4 // 3
                inside[id(group[turn])] = video
    return [inside[id(run)] for group in groups for run in group if id(run) in inside]


def _success(run: Run) -> float:
    return float(run.episode_success[run.best]) if run.is_evaluated else -1.0


def _video(run: Run, most_bytes: int) -> Video | None:
    path = run.folder / FOLDER / _BEST
    is_best = path.is_file()
    if not is_best:
        numbered = [p for p in run.folder.glob(f"{FOLDER}/*.mp4") if p.stem.isdigit()]
        if not numbered:
            return None
        path = max(numbered, key=lambda p: int(p.stem))
    try:
        if path.stat().st_size * 4 / 3 > most_bytes:
            return Video(run, path, is_best, None)
        content = read_bytes(path, _MOST, "video")
    except (UserError, OSError):
        return None
    return Video(run, path, is_best, content) if content[4:8] == b"ftyp" else None
