"""The report: one HTML page that holds all it shows, asks no network and has no script."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import so101_robobase
from robobase.run_record import now
from so101_robobase.base.files import MARK
from so101_robobase.experiments import charts
from so101_robobase.experiments.figures import run_figures
from so101_robobase.experiments.html import Cell, Html, element, join, table
from so101_robobase.experiments.legend import Legend, legend
from so101_robobase.experiments.page_settings import statistics
from so101_robobase.experiments.page_tables import rewards, robustness
from so101_robobase.experiments.runs import Run, groups, mixtures
from so101_robobase.experiments.versions import Versions, versions_of
from so101_robobase.experiments.videos import Video, chosen
from so101_robobase.experiments.words import between, count, duration, percent

_ROOM = 300_000  # bytes of page that are kept free beside charts and videos


def page(runs: Sequence[Run], most_bytes: int) -> tuple[str, list[str]]:
    """The whole page, and a line for each thing that was left out of it."""
    grouped = groups(runs)
    key = legend(list(grouped))
    parts = [
        _head(runs),
        _runs_table(runs, key),
        _curves(grouped, key),
        statistics(grouped, key, runs),
        rewards(runs),
        robustness(runs),
    ]
    size = sum(len(part) for part in parts) + _ROOM
    videos = chosen(list(grouped.values()), max(most_bytes - size, 0))
    parts += [_videos(videos, grouped, key), _machines(runs), _remarks(runs)]
    left_out = [
        f"{video.path} is left out: the page would grow beyond {most_bytes / 1e6:.0f} MB"
        for video in videos
        if video.content is None
    ]
    return _document(join(part for part in parts if part)), left_out


def _document(body: Html) -> str:
    style = files("so101_robobase.experiments").joinpath("report.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="{MARK} {so101_robobase.__version__}">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
img-src data:; media-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Report of runs</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _head(runs: Sequence[Run]) -> Html:
    states: dict[str, int] = {}
    for run in runs:
        states[run.record.status] = states.get(run.record.status, 0) + 1
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    tasks = ", ".join(dict.fromkeys(run.task for run in runs if run.task))
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    return join(
        [
            element("h1", f"{count} of {tasks}" if tasks else count),
            element("p", f"{told}; report of {now().replace('T', ' ')[:16]} UTC", class_="quiet"),
            *(element("p", f"Note: {word}.", class_="warn") for word in mixtures(runs)),
        ]
    )


def _runs_table(runs: Sequence[Run], key: Legend) -> Html:
    numbers = _numbers(groups(runs))
    header = ["run", "seed", "best success", "95 % interval", "last success", "steps to 90 %"]
    header += ["time to 90 %", "status", "env steps", "best at", "evaluated anew", "best snapshot"]
    if len(key) > 1:
        header.insert(0, "setting")
    rows = []
    figures = run_figures(runs)
    for run, one in sorted(zip(runs, figures, strict=True), key=lambda pair: numbers[id(pair[0])]):
        row = [
            Cell(run.name, "text"),
            one["seed"],
            Cell(percent(one["best_success"]), "heat", one["best_success"]),
            between(one["best_low"], one["best_high"]),
            percent(one["final_success"]),
            count(one["steps_to_90"]),
            duration(one["seconds_to_90"]),
            Cell(one["status"], "text"),
            _of(one["env_steps"], one["num_train_frames"]),
            count(one["best_step"]),
            _judged(one),
            Cell(one["best_snapshot"] and element("code", one["best_snapshot"]), "text"),
        ]
        if len(key) > 1:
            row.insert(0, Cell(key.named(numbers[id(run)]), "text"))
        rows.append(row)
    return join(
        [
            element("h2", "Runs"),
            key.list() if key.has_letters else Html(""),
            table(header, rows),
            element(
                "p",
                "The best of many evaluations is a maximum, higher than what the policy does: that "
                "stands under “evaluated anew”, after so101_robobase evaluate SNAPSHOT --final.",
                class_="quiet",
            ),
        ]
    )


def _curves(grouped: Mapping[str, Sequence[Run]], key: Legend) -> Html:
    known = list(grouped.values())
    if not any(run.is_evaluated for group in known for run in group):
        return element("p", "No run has evaluated yet: there are no curves.", class_="quiet")
    drawn = [element("div", Html(charts.curves(known, what))) for what in charts.CURVES]
    words = (
        "Of a setting with several seeds the mean, up to where the shortest run ends, and a band "
        "from the least to the most; thin lines are runs."
    )
    return join(
        [
            element("h2", "Learning curves"),
            key.list(),
            element("div", *drawn, class_="charts"),
            element("p", words, class_="quiet") if any(len(g) > 1 for g in known) else Html(""),
        ]
    )


def _videos(videos: Sequence[Video], grouped: Mapping[str, Sequence[Run]], key: Legend) -> Html:
    if not videos:
        return Html("")
    numbers = _numbers(grouped)
    shown = []
    for video in videos:
        what = "best snapshot" if video.is_best else f"at {int(video.path.stem):,} env steps"
        seed = f", seed {video.run.seed}" if video.run.seed else ""
        caption = join([key.named(numbers[id(video.run)]) if len(key) > 1 else video.run.name])
        if video.content is not None:
            player = element(
                "video",
                Html(""),
                src=f"{video.data_url}#t=0.1",  # a picture before it is played
                controls=True,
                muted=True,
                loop=True,
                preload="metadata",
            )
            shown.append(
                element("figure", player, element("figcaption", caption, f"{seed}; {what}"))
            )
    left_out = [video for video in videos if video.content is None]
    words = [element("li", element("code", video.path)) for video in left_out]
    return join(
        [
            element("h2", "Videos"),
            element("div", *shown, class_="videos"),
            element("p", "Left out, for the size of the page:") if words else Html(""),
            element("ul", *words) if words else Html(""),
        ]
    )


def _machines(runs: Sequence[Run]) -> Html:
    """Each machine and version once, with how many runs they were."""
    found: dict[Versions, int] = {}
    for run in runs:
        versions = versions_of(run.folder)
        found[versions] = found.get(versions, 0) + 1
    found.pop(Versions(), None)
    header = ["runs", "processor", "cores", "GPU", "platform", "versions", "commit"]
    rows = [
        [
            number,
            Cell(one.cpu, "text"),
            Cell(one.cores, "text"),
            Cell(one.gpus, "text"),
            Cell(one.platform, "text"),
            Cell(", ".join(f"{name} {version}" for name, version in one.packages), "text"),
            Cell(one.commit, "text"),
        ]
        for one, number in found.items()
    ]
    if not rows:
        return Html("")
    return join([element("h2", "Machines and versions"), table(header, rows)])


def _remarks(runs: Sequence[Run]) -> Html:
    lines = [element("li", f"{run.name}: {word}") for run in runs for word in _remarks_of(run)]
    return join([element("h2", "Remarks"), element("ul", *lines)]) if lines else Html("")


def _remarks_of(run: Run) -> list[str]:
    """Why it stopped, unless its remarks say so, and those."""
    reason = run.record.reason
    told = reason is None or any(reason in remark for remark in run.remarks)
    return [*([] if told else [str(reason)]), *run.remarks]


def _numbers(grouped: Mapping[str, Sequence[Run]]) -> dict[int, int]:
    """Of each run, by its id, the number of its group."""
    return {id(run): number for number, runs in enumerate(grouped.values()) for run in runs}


def _of(reached: int, wanted: int) -> str:
    if not wanted or reached >= wanted:
        return f"{reached:,}"
    return f"{reached:,} of {wanted:,}"


def _judged(one: Mapping[str, Any]) -> str | None:
    if one["judged"] is None:
        return None
    low, high = one["judged_low"], one["judged_high"]
    return f"{percent(one['judged'])} ({between(low, high)}) of {one['judged_episodes']:,}"
