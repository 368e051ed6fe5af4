"""An evaluation on paper: the table on the console, evaluation.json, per-episode CSV files."""

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from robobase.errors import UserError
from so101_robobase.base.files import written_whole
from so101_robobase.evaluation.failures import Cause
from so101_robobase.evaluation.statistics import CONFIDENCE, HEIGHT_MARKS, Episode, Summary

_SHOWN = 5  # episodes of a cause that are named on the console


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Aligned columns between bars: the first to the left, the others to the right."""
    lines = [[_shown(cell) for cell in row] for row in ([header] if header else []) + list(rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    text = [rule]
    for number, line in enumerate(lines):
        cells = [
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("| " + " | ".join(cells) + " |")
        if header and number == 0:
            text.append(rule)
    return "\n".join([*text, rule])


def summary_table(summary: Summary) -> str:
    """The figures of an evaluation for the console."""
    low, high = summary.success_interval
    rows = [
        ["episodes", str(summary.num_episodes)],
        ["success", f"{summary.success_rate:.1%} ({summary.successes})"],
        [f"{CONFIDENCE:.0%} interval (Wilson)", f"{low:.1%} to {high:.1%}"],
        ["time to lift, median (quartiles)", "-"],
        ["mean reward", f"{summary.mean_reward:.2f}"],
        ["mean length (control steps)", f"{summary.mean_length:.1f}"],
        ["max cube height, mean (m)", f"{summary.mean_max_cube_height:.3f}"],
        ["max cube height, best (m)", f"{summary.best_max_cube_height:.3f}"],
    ]
    if summary.time_to_lift is not None:
        first, median, third = summary.time_to_lift
        rows[3][1] = f"{median:.2f} s ({first:.2f} to {third:.2f})"
    if summary.unstable_episodes:
        rows.append(["ended by unstable physics", str(summary.unstable_episodes)])
    return table(rows)


def height_table(episodes: Sequence[Episode]) -> str:
    """Per episode: success, reward, length and the first policy step above each height mark."""
    marks = [f">{mark:.2f} m" for mark in HEIGHT_MARKS]
    rows = [
        [
            str(episode.index),
            "yes" if episode.success else "no",
            f"{episode.reward:.2f}",
            str(episode.length),
            f"{episode.max_cube_height:.3f}",
            *(str(episode.first_step_above(mark) or "-") for mark in HEIGHT_MARKS),
        ]
        for episode in episodes
    ]
    return table(rows, ["episode", "success", "reward", "length", "max height", *marks])


def prepare_output(folder: Path) -> Path:
    """Creates `folder` and makes sure that files can be written there, before any work is done.

    Raises:
        UserError: the folder cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable_{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"output folder '{folder}' cannot be written ({error.strerror}); "
            "name another one with --output_dir"
        ) from error
    return folder


def failure_line(causes: Mapping[Cause, Sequence[int]]) -> str:
    """Why episodes failed, for the console: cause, number and indices of the episodes."""
    parts = []
    for cause, indices in causes.items():
        shown = ", ".join(map(str, indices[:_SHOWN])) + (", …" if len(indices) > _SHOWN else "")
        parts.append(f"{len(indices)} {cause} ({shown})")
    return f"failed: {'; '.join(parts)}"


def write_json(
    path: Path,
    settings: dict[str, Any],
    summary: Summary,
    episodes: Sequence[Episode],
    causes: Mapping[Cause, Sequence[int]] | None = None,
):
    """Writes settings, figures and one record per episode; whole or not at all."""
    why = {index: str(cause) for cause, indices in (causes or {}).items() for index in indices}
    record = {
        "settings": settings,
        "summary": asdict(summary),
        "episodes": [
            {
                "index": episode.index,
                "seed": episode.seed,
                "success": episode.success,
                "reward": episode.reward,
                "length": episode.length,
                "max_cube_height": episode.max_cube_height,
                "time_to_lift": episode.time_to_lift,
                "unstable": episode.unstable,
                "cube_start": episode.cube_start,
                "failure": why.get(episode.index),
            }
            for episode in episodes
        ],
    }
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(_without_nan(record), indent=2) + "\n")


def write_debug_csv(folder: Path, episodes: Iterable[Episode]) -> None:
    """One `episode_XXX.csv` per episode and `heights.csv` with the first steps above each mark."""
    folder.mkdir(exist_ok=True)
    marks = [f"first_step_above_{mark:.2f}m" for mark in HEIGHT_MARKS]
    heights = []
    for episode in episodes:
        steps = zip(
            range(1, len(episode.cube_z) + 1),
            episode.cube_z,
            episode.step_reward,
            map(int, episode.is_grasping),
            episode.jaw_angle,
            strict=True,
        )
        _write_csv(
            folder / f"episode_{episode.index:03d}.csv",
            ["step", "cube_z", "reward", "is_grasping", "jaw_angle"],
            steps,
        )
        crossings = [episode.first_step_above(mark) for mark in HEIGHT_MARKS]
        heights.append([episode.index, int(episode.success), episode.max_cube_height, *crossings])
    _write_csv(folder / "heights.csv", ["episode", "success", "max_cube_height", *marks], heights)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with written_whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _shown(cell: str) -> str:
    """What a stranger's file says must not steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in cell)


def _without_nan(value: Any) -> Any:
    """JSON has no nan: such figures become null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
