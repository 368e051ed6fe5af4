"""The report's tables of what rewards pay and of how robust policies are."""

import base64
from collections.abc import Sequence
from pathlib import Path

from robobase.errors import UserError
from robobase.reading import MIB, read_bytes
from robobase.settings.tree import at
from so101_robobase.evaluation.robustness_results import Result, read_results
from so101_robobase.experiments.html import Cell, Html, element, join, table
from so101_robobase.experiments.runs import Run
from so101_robobase.experiments.words import between

_MOST_PICTURES = 24  # of a quarter of a megabyte each


def rewards(runs: Sequence[Run]) -> Html:
    """What the reward versions of the runs pay for; nothing where all have the same one."""
    from so101_robobase.tasks.lift.rewards import VERSIONS

    names = [str(at(run.config, "env.reward_version") or "") for run in runs]
    used = [name for name in VERSIONS if name in names]
    if len(used) < 2 or any("place" in run.task or "touch" in run.task for run in runs):
        return Html("")
    terms = list(dict.fromkeys(term for name in used for term in VERSIONS[name]))
    rows = [
        [Cell(element("code", term), "text"), *(VERSIONS[name].get(term) for name in used)]
        for term in terms
    ]
    return join(
        [
            element("h2", "What the reward versions pay"),
            table(["term", *used], rows),
            element(
                "p",
                "Weight of each term in a control step; its formula is in "
                "so101_robobase/tasks/lift/rewards.py. Runs do not log terms one by one.",
                class_="quiet",
            ),
        ]
    )


def robustness(runs: Sequence[Run]) -> Html:
    """The newest results of `evaluate --suite robustness` of each run, side by side."""
    suites: list[tuple[Run, list[Result]]] = []
    pictures: list[Html] = []
    for run in runs:
        for file in sorted(run.folder.glob("robustness/*/robustness.json"), reverse=True):
            try:
                suites.append((run, read_results(file)))
            except UserError:
                continue
            pictures += _picture(run, file.with_suffix(".png"))
            break
    if not suites:
        return Html("")
    found = [{(one.factor, one.level): one for one in results} for _, results in suites]
    conditions = list(dict.fromkeys(key for one in found for key in one))
    more = max(len(pictures) - _MOST_PICTURES, 0)
    rows = []
    for key in conditions:
        row: list[object] = [Cell(" ".join(key).strip(), "text")]
        for one in found:
            result = one.get(key)
            if result is None:
                row.append(None)
            else:
                told = element("span", f"{result.rate:.0%}", title=between(*result.interval))
                row.append(Cell(told, "heat", result.rate))
        rows.append(row)
    return join(
        [
            element("h2", "Robustness"),
            table(["what is other", *(run.name for run, _ in suites)], rows),
            element("p", "Success by condition; 95 % interval under the pointer.", class_="quiet"),
            element("div", *pictures[:_MOST_PICTURES]) if pictures else Html(""),
            element("p", f"{more} more such pictures lie in the run folders.")
            if more
            else Html(""),
        ]
    )


def _picture(run: Run, path: Path) -> list[Html]:
    """The suite's maps of a run, folded up; nothing where they cannot be read."""
    try:
        content = read_bytes(path, MIB, "picture")
    except UserError:
        return []
    if not content.startswith(b"\x89PNG"):
        return []
    data = base64.b64encode(content).decode()
    image = element("img", src=f"data:image/png;base64,{data}", alt=f"robustness of {run.name}")
    return [element("details", element("summary", f"Maps of {run.name}"), element("figure", image))]
