"""The figures of a report for machines: a CSV row per run, or all in one JSON file."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import so101_robobase
from so101_robobase.base.files import MARK, written_whole
from so101_robobase.experiments.figures import run_figures, setting_figures
from so101_robobase.experiments.runs import Run


def write_csv(path: Path, runs: Sequence[Run]) -> None:
    """What is not known is an empty cell. The last column is the version that wrote it."""
    rows = [{**one, MARK: so101_robobase.__version__} for one in run_figures(runs)]
    with written_whole(path, own=True) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, runs: Sequence[Run]) -> None:
    """`runs` and `settings`; of each run its evaluations too. What is not known is null."""
    records = [
        {
            **one,
            "evaluation_env_steps": run.env_steps.tolist(),
            "evaluation_success": [None if x != x else x for x in run.episode_success.tolist()],
        }
        for run, one in zip(runs, run_figures(runs), strict=True)
    ]
    content = {MARK: so101_robobase.__version__, "runs": records, "settings": setting_figures(runs)}
    with written_whole(path, own=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
