"""What the robustness suite found: one record per condition, in one JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import so101_robobase
from robobase.errors import UserError
from robobase.reading import read_json
from so101_robobase.base.files import written_whole
from so101_robobase.evaluation.report import table
from so101_robobase.evaluation.statistics import Episode, wilson_interval

SUITE = "robustness"
_SAME = ("sha256", "overrides", "seed", "episodes")  # of two calls that may share a file


@dataclass(frozen=True)
class Result:
    """How a condition went; `starts` where the place of the cube is what varies."""

    factor: str
    level: str
    episodes: int
    successes: int
    starts: Sequence[tuple[float, float, bool]] = ()  # x, y of the cube in m, success

    @property
    def rate(self) -> float:
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, 95 %."""
        return wilson_interval(self.successes, self.episodes)


def result_of(factor: str, level: str, episodes: Sequence[Episode], with_starts: bool) -> Result:
    """Of the episodes of one condition."""
    starts = [(*episode.cube_start, episode.success) for episode in episodes]
    successes = sum(episode.success for episode in episodes)
    return Result(factor, level, len(episodes), successes, starts if with_starts else ())


def results_table(results: Sequence[Result]) -> str:
    """A row per condition, for the console."""
    rows = [
        [
            f"{one.factor} {one.level}".strip(),
            f"{one.rate:.0%}",
            "{:.0%} to {:.0%}".format(*one.interval),
            str(one.episodes),
        ]
        for one in results
    ]
    return table(rows, ["what is other", "success", "95 % interval", "episodes"])


def write_results(path: Path, head: Mapping[str, Any], results: Sequence[Result]) -> None:
    """`head` says which suite of which policy it is."""
    record = {
        "suite": SUITE,
        **head,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "so101_robobase": so101_robobase.__version__,
        "conditions": [asdict(one) for one in results],
    }
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


def read_results(path: Path, head: Mapping[str, Any] | None = None) -> list[Result]:
    """Of a file of `write_results`; with a `head` only of one that was written with the same.

    Raises:
        UserError: it is no such file, damaged, or of another suite.
    """
    remedy = "remove the file"
    content = read_json(path, what="results of a suite", remedy=remedy)
    if not isinstance(content, dict) or content.get("suite") != SUITE:
        raise UserError(f"{path} holds no results of --suite {SUITE}; {remedy}")
    for key in _SAME if head is not None else ():
        if content.get(key) != head[key]:  # type: ignore[index]
            raise UserError(
                f"{path} is of a suite with {key} {content.get(key)!r:.80}, and this one has "
                f"{head[key]!r:.80}; name another --output_dir"  # type: ignore[index]
            )
    try:
        return [_result(one) for one in content["conditions"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from error


def _result(record: Mapping[str, Any]) -> Result:
    result = Result(
        str(record["factor"]),
        str(record["level"]),
        int(record["episodes"]),
        int(record["successes"]),
        [(float(x), float(y), bool(success)) for x, y, success in record["starts"]],
    )
    if not 0 <= result.successes <= result.episodes or not result.episodes:
        raise ValueError(f"{result.successes} successes of {result.episodes} episodes")
    return result
