"""Several runs as tables of text: a row per run, a row per setting over its seeds."""

from collections.abc import Sequence

import numpy as np

from robobase.settings.tree import leaves
from so101_robobase.experiments.runs import NO_SETTING, Run, groups, settings

_LONGEST = 60  # letters of a value
_ABSENT = "(absent)"


def comparison_rows(runs: Sequence[Run], levels: Sequence[float]) -> list[list[str]]:
    """A header and one row per run: best and final success, env steps and time to each level.

    Where runs were given different settings or seeds, columns say which.
    """
    labels, seeds = settings(runs), [run.overrides.get("seed", "") for run in runs]
    told = {
        name: cells
        for name, cells in (("setting", labels), ("seed", seeds))
        if len(set(cells)) > 1 or (name == "seed" and any(cells) and len(runs) > 1)
    }
    header = ["run", *told, "evaluations", "env steps", "best success", "at step", "final success"]
    for level in levels:
        header += [f"steps to {level:.0%}", f"time to {level:.0%}"]
    rows = [header]
    for number, run in enumerate(runs):
        row = [
            run.name,
            *(cells[number] or "-" for cells in told.values()),
            str(len(run.env_steps)),
            f"{run.env_steps[-1]:,.0f}",
            _percent(run.episode_success[run.best]),
            f"{run.env_steps[run.best]:,.0f}",
            _percent(run.episode_success[-1]),
        ]
        for level in levels:
            first = run.first_reaching(level)
            if first is None:
                row += ["-", "-"]
            else:
                row += [f"{run.env_steps[first]:,.0f}", _duration(run.total_time[first])]
        rows.append(row)
    return rows


def setting_rows(runs: Sequence[Run], level: float) -> list[list[str]]:
    """A header and one row per setting over its seeds; empty where no setting has two runs.

    Success as the mean over the runs, with the lowest and the highest; steps and time to `level` as
    the median of those that reach it.
    """
    grouped = groups(runs)
    if all(len(group) == 1 for group in grouped.values()):
        return []
    header = ["setting", "seeds", "best success", "final success", f"reach {level:.0%}"]
    rows = [[*header, f"steps to {level:.0%}", f"time to {level:.0%}"]]
    for label, group in grouped.items():
        reached = [(run, at) for run in group if (at := run.first_reaching(level)) is not None]
        steps = [run.env_steps[at] for run, at in reached]
        times = [run.total_time[at] for run, at in reached]
        rows.append(
            [
                label or "(all the same)",
                str(len(group)),
                _spread([run.episode_success[run.best] for run in group]),
                _spread([run.episode_success[-1] for run in group]),
                f"{len(reached)} of {len(group)}",
                f"{np.median(steps):,.0f}" if steps else "-",
                _duration(float(np.median(times))) if times else "-",
            ]
        )
    return rows


def difference_rows(runs: Sequence[Run]) -> list[list[str]]:
    """A header and a row per key of config.yaml that is not the same in all; empty where none is.

    References such as `${env.image_size}` stay what they are: what they refer to has its own row.
    """
    flat = [dict(leaves(run.config)) for run in runs]
    rows = []
    for key in sorted({key for one in flat for key in one}):
        if key.split(".")[0] in NO_SETTING:
            continue
        values = [_value(one.get(key, _ABSENT)) if one else "?" for one in flat]
        if len(set(values)) > 1:
            rows.append([key, *values])
    return [["setting", *(run.name for run in runs)], *rows] if rows else []


def _value(value: object) -> str:
    word = str(value)
    return word if len(word) <= _LONGEST else f"{word[:_LONGEST]} …"


def _percent(rate: float) -> str:
    return "-" if np.isnan(rate) else f"{rate:.1%}"


def _spread(rates: Sequence[float]) -> str:
    known = [rate for rate in rates if not np.isnan(rate)]
    if not known:
        return "-"
    return f"{np.mean(known):.1%} ({min(known):.0%} to {max(known):.0%})"


def _duration(seconds: float) -> str:
    """`1:23:45` (hours, minutes, seconds), or `-` where the time was not reported."""
    if np.isnan(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
