"""Whether what a snapshot holds can be continued: kinds, shapes and ranges, before it is loaded.

The snapshot may be anybody's, or damaged. Everything here raises ValueError for what does not fit
the freshly built run.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces

from robobase import snapshot
from robobase.learner_state import check_alike
from robobase.rollout import WINDOW

Run = Any  # a Workspace
MOST = 2**53  # of what is counted: steps, episodes, updates
_CREDIT = re.compile(r"\d{1,18}(/\d{1,18})?", re.ASCII)


def check_counters(state: Mapping[str, Any]) -> None:
    """How far the run came, and what its episodes achieved."""
    progress = state["progress"]
    _expect(isinstance(progress, dict), "progress")
    for key in ("pretrain_step", "iterations", "env_steps", "updates", "evaluations"):
        _expect(_is_count(progress.get(key)), f"progress: {key}")
    evaluated = progress.get("evaluated_at")
    _expect(evaluated is None or _is_count(evaluated), "progress: evaluated_at")
    credit = progress.get("update_credit")
    _expect(isinstance(credit, str) and bool(_CREDIT.fullmatch(credit)), "progress: update_credit")
    numerator, _, denominator = credit.partition("/")
    whole = denominator or "1"
    _expect(0 <= int(numerator) < max(1, int(whole)) * 1000 and int(whole) > 0, "update_credit")
    score = state.get("best_score")
    _expect(
        score is None
        or (
            isinstance(score, list | tuple) and 0 < len(score) < 10 and all(map(_is_ranked, score))
        ),
        "best_score",
    )
    _expect(_is_number(state.get("total_time")) and state["total_time"] >= 0, "total_time")
    _check_episodes(state["episodes"])


def _check_episodes(episodes: Any) -> None:
    _expect(isinstance(episodes, dict) and _is_count(episodes.get("count")), "episodes: count")
    unstable = episodes.get("unstable")
    _expect(unstable is None or _is_count(unstable), "episodes: unstable")
    running, finished = episodes.get("running"), episodes.get("finished")
    _expect(
        isinstance(running, list | tuple)
        and len(running) == 3
        and all(isinstance(lane, list | tuple) for lane in running)
        and len({len(lane) for lane in running}) == 1
        and all(map(_is_number, running[0]))
        and all(map(_is_count, running[1]))
        and all(isinstance(success, bool) for success in running[2]),
        "episodes: running",
    )
    _expect(
        isinstance(finished, list | tuple)
        and len(finished) <= WINDOW
        and all(
            isinstance(episode, list | tuple)
            and len(episode) == 3
            and _is_number(episode[0])
            and _is_count(episode[1])
            and (episode[2] is None or isinstance(episode[2], bool))
            for episode in finished
        ),
        "episodes: finished",
    )


def check_running(run: Run, state: Mapping[str, Any]) -> None:
    """What the environments were in the middle of."""
    for key in ("env", "observations"):
        _expect(isinstance(state[key], dict), key)
    try:
        here = snapshot.to_plain(run.train_envs.state_dict())
    except Exception:  # environments that have no state before their first reset
        here = {}
    check_alike(state["env"], here, "env")
    _check_observations(state["observations"], run.observation_space, run.cfg.num_train_envs)
    actions = state.get("teacher_actions")
    if run.teaching is not None and actions is not None:
        shape = (run.cfg.num_train_envs, *run.action_space.shape)
        _expect(isinstance(actions, torch.Tensor) and actions.shape == shape, "teacher_actions")
        _expect(_is_finite(actions) and actions.is_floating_point(), "teacher_actions")
    if run.self_imitation is not None and state.get("self_imitation") is not None:
        _check_self_imitation(run, state["self_imitation"])
    if run.rollout is not None and state.get("rollout") is not None:
        _check_rollout(run, state["rollout"])


def _check_observations(stored: Mapping[str, Any], space: spaces.Dict, num_envs: int) -> None:
    _expect(stored.keys() == space.spaces.keys(), "observations")
    for key, box in space.items():
        value = stored[key]
        _expect(
            isinstance(value, torch.Tensor)
            and value.shape == (num_envs, *(box.shape or ()))
            and value.numpy().dtype == box.dtype
            and _is_finite(value),
            f"observations: {key}",
        )


def _check_self_imitation(run: Run, state: Any) -> None:
    _expect(isinstance(state, dict), "self_imitation")
    running = state.get("running")
    _expect(isinstance(running, list) and len(running) == run.cfg.num_train_envs, "self_imitation")
    kinds = run.observation_space.spaces
    for episode in running:
        _expect(isinstance(episode, list | tuple), "self_imitation")
        for step in episode:
            _expect(isinstance(step, list | tuple) and len(step) == 5, "self_imitation")
            frame, action, *rest = step
            _expect(isinstance(frame, dict) and frame.keys() == kinds.keys(), "self_imitation")
            for key, box in kinds.items():
                # One frame of the stack.
                _expect(_fits(frame[key], (box.shape or ())[1:]), f"self_imitation: {key}")
            _expect(_fits(action, run.action_space.shape[1:]), "self_imitation: action")
            _expect(all(type(v) in (bool, int, float) and math.isfinite(v) for v in rest), "steps")


def _check_rollout(run: Run, state: Any) -> None:
    assert run.rollout is not None
    here = run.rollout.state_dict()
    for group in ("steps", "next"):
        _expect(isinstance(state.get(group), dict), f"rollout: {group}")
        stored = state[group]
        _expect(stored.keys() == here[group].keys(), f"rollout: {group}")
        for key, value in here[group].items():
            _expect(
                isinstance(stored[key], torch.Tensor)
                and stored[key].dtype == value.dtype
                and stored[key].shape[1:] == value.shape[1:]
                and _is_finite(stored[key]),
                f"rollout: {key}",
            )
        _expect(len({len(value) for value in stored.values()}) == 1, f"rollout: {group}")
    cuts, filled = state["next"]["cuts"], len(state["steps"]["reward"])
    inside = filled * run.cfg.num_train_envs
    _expect(bool(((cuts >= 0) & (cuts < inside)).all()), "rollout: cuts")


def _fits(value: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == shape and _is_finite(value)


def _is_finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e300


def _is_ranked(value: Any) -> bool:
    """A figure of a score: -inf stands for one that was missing."""
    return type(value) in (int, float, bool) and not math.isnan(value)


def _expect(fits: bool, what: str) -> None:
    if not fits:
        raise ValueError(f"its {what} cannot be continued")
