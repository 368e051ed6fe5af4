"""Metrics as a table in Stable-Baselines3's layout, and their names there."""

from __future__ import annotations

from collections.abc import Mapping

from robobase.logger import coloured

# RoboBase's metric -> Stable-Baselines3's name; whatever else `train` has is an agent metric.
_TRAIN_NAMES = {
    "episode_length": "rollout/ep_len_mean",
    "episode_reward": "rollout/ep_rew_mean",
    "episode_success": "rollout/success_rate",
    "unstable_episodes": "rollout/unstable_episodes",
    "env_steps_per_second": "time/fps",
    "agent_batched_updates_per_second": "time/update_fps",
    "agent_updates_per_second": "time/update_samples_per_second",
    "iteration": "time/iterations",
    "env_episodes": "time/episodes",
    "total_time": "time/time_elapsed",
    "env_steps": "time/total_timesteps",
    "updates": "train/n_updates",
}
_EVAL_NAMES = {
    "episode_success": "eval/success_rate",
    "episode_reward": "eval/mean_reward",
    "episode_length": "eval/mean_ep_length",
    "max_cube_z": "eval/max_cube_z",
    "env_steps": "eval/total_timesteps",
}
# The state of the run, which an evaluation repeats and a table of its results need not.
_RUN_STATE = ("iteration", "total_time", "env_episodes", "updates", "buffer_size")
_FIRST = [
    *(name for name in _TRAIN_NAMES.values() if not name.startswith("train/")),
    "train/critic_loss",
    "train/actor_loss",
    *_EVAL_NAMES.values(),
]


def sb3_names(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Rename `prefix/metric` as Stable-Baselines3 does, in the order of its tables.

    `env_info/x` of training becomes `env/x`. Evaluations leave out what training reports of the
    run as a whole. Metrics without a counterpart keep their name.
    """
    known = {"train": _TRAIN_NAMES, "eval": _EVAL_NAMES}.get(prefix, {})
    renamed = {}
    for key, value in metrics.items():
        metric = key.removeprefix(f"{prefix}/")
        if prefix == "eval" and metric in _RUN_STATE:
            continue
        if prefix == "train" and metric.startswith("env_info/"):
            name = metric.replace("env_info/", "env/")
        else:
            name = known.get(metric, key)
        renamed[name] = value
    rank = {name: k for k, name in enumerate(_FIRST)}
    order = sorted(renamed, key=lambda name: rank.get(name, len(rank)))  # stable for the rest
    return {name: renamed[name] for name in order}


def format_table(values: Mapping[str, float]) -> str:
    """A framed table of `group/name: value`, one block per group."""
    groups: dict[str, list[tuple[str, str, str]]] = {}  # group -> (full name, label, value)
    for name, value in values.items():
        group, _, label = name.partition("/")
        groups.setdefault(group, []).append((name, label, _number(value)))
    rows = [row for block in groups.values() for row in block]
    label_width = max(len(label) for _, label, _ in rows) + 4
    value_width = max(len(text) for _, _, text in rows)
    rule = "-" * (label_width + value_width + 7)
    lines = [rule]
    for group, block in groups.items():
        header = coloured(f"{group + '/':<{label_width}}", "cyan")
        lines.append(f"| {header} | {'':<{value_width}} |")
        for name, label, text in block:
            cell = f"{text:<{value_width}}"
            if name.endswith("/success_rate"):
                cell = coloured(cell, "green")
            lines.append(f"| {'    ' + label:<{label_width}} | {cell} |")
    return "\n".join([*lines, rule])


def _number(value: float) -> str:
    if float(value).is_integer() and abs(value) < 1e12:
        return str(int(value))
    if 1e3 <= abs(value) < 1e12:
        return f"{value:.0f}"
    return f"{value:.3g}"
