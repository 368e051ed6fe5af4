"""The report's part about settings: what their runs say together."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from so101_robobase.experiments import charts
from so101_robobase.experiments.aggregate import improvement, mean
from so101_robobase.experiments.figures import estimate_of, final_scores, setting_figures
from so101_robobase.experiments.html import Cell, Html, element, join, table
from so101_robobase.experiments.legend import Legend
from so101_robobase.experiments.runs import Run
from so101_robobase.experiments.words import between, count, duration, percent

_MOST_PAIRS = 12  # groups in the table of probabilities


def statistics(grouped: Mapping[str, Sequence[Run]], key: Legend, runs: Sequence[Run]) -> Html:
    """Per setting, where one has several runs, or where there are several."""
    known = [
        (number, one, final_scores(group))
        for number, (one, group) in enumerate(
            zip(setting_figures(runs), grouped.values(), strict=True)
        )
    ]
    scored = [entry for entry in known if entry[2]]
    if len(runs) < 2 or not scored:
        return Html("")
    header = ["setting", "runs", "finished", "last success, IQM", "95 % interval", "mean"]
    header += ["mean over the training, IQM", "95 % interval", "reach 90 %", "steps", "time"]
    rows = [
        [
            Cell(key.named(number), "text"),
            one["runs"],
            one["finished"],
            Cell(percent(one["final_iqm"]), "heat", one["final_iqm"]),
            between(one["final_low"], one["final_high"]),
            percent(mean(scores) if scores else None),
            percent(one["area_iqm"]),
            between(one["area_low"], one["area_high"]),
            f"{one['reach_90']} of {one['evaluated']}",
            count(one["median_steps_to_90"]),
            duration(one["median_seconds_to_90"]),
        ]
        for number, one, scores in known
    ]
    drawn = [
        charts.intervals([(number, estimate_of(one, name)) for number, one, _ in scored], title)
        for name, title in (("final", "last success, IQM"), ("area", "mean over the training, IQM"))
    ]
    drawn.append(charts.profiles([(number, scores) for number, _, scores in scored]))
    few = min(sum(map(len, scores)) for *_, scores in scored)
    words = (
        "Interquartile mean (IQM) of the last evaluations' success, its 95 % interval by "
        "stratified bootstrap over runs, and the performance profile: the share of runs above each "
        "success (Agarwal et al. 2021). Steps and time to 90 % are medians of runs that reach it."
    )
    if few < 5:
        words += f" With {few} run{'s' * (few > 1)} in a setting these intervals are too narrow."
    return join(
        [
            element("h2", "Settings"),
            table(header, rows),
            element("p", words, class_="quiet"),
            key.list(),
            element("div", *(element("div", Html(one)) for one in drawn), class_="charts"),
            _improvements(scored, key),
        ]
    )


def _improvements(scored: Sequence[Any], key: Legend) -> Html:
    """How likely a run of the row's setting ends above one of the column's."""
    shown = scored[:_MOST_PAIRS]
    if len(shown) < 2 or any(len(a[2]) != len(b[2]) for a, b in pairwise(shown)):
        return Html("")
    rows = []
    for a in shown:
        row = [Cell(key.named(a[0]), "text")]
        for b in shown:
            if a is b:
                row.append(Cell(None))
                continue
            found = improvement(a[2], b[2])
            told = element("span", percent(found.value, 0), title=between(found.low, found.high))
            row.append(Cell(told, "heat", found.value))
        rows.append(row)
    header = ["is better than", *(key.named(entry[0]) for entry in shown)]
    words = (
        "Probability of improvement: how likely a run of the row's setting ends with more success "
        "than one of the column's; ties count half. The interval shows under the pointer."
    )
    return join(
        [
            element("h2", "Which is better"),
            table(header, rows),
            element("p", words, class_="quiet"),
        ]
    )
