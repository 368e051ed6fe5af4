"""What of a run goes into a snapshot, and how it comes back."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from robobase import resume_checks, snapshot, stored_config
from robobase.errors import UserError
from robobase.method.core import Method
from robobase.progress import Progress
from robobase.reading import reason

Run = Any  # a Workspace

_KEYS = ("agent", "training", "progress", "episodes", "spaces", "rng")


def capture(run: Run, with_replay: bool) -> dict[str, Any]:
    """Everything a snapshot holds, as plain containers and tensors."""
    save_env = getattr(run.train_envs, "state_dict", None)
    return {
        "_pretrain_step": run.progress.pretrain_step,
        "_main_loop_iterations": run.progress.iterations,
        "_global_env_episode": run.episodes.count,
        "cfg": stored_config.to_text(run.cfg),
        "agent": run.agent.state_dict(),
        "training": run.agent.training_state(),
        "progress": run.progress.state_dict(),
        "episodes": run.episodes.state_dict(),
        "best_score": run.snapshots.best_score,
        "total_time": run.total_time(),
        "spaces": describe_spaces(run.observation_space, run.action_space),
        "rng": rng_state(),
        "env": snapshot.to_plain(save_env()) if save_env else None,
        "observations": snapshot.to_plain(run.observations),
        "teacher_actions": snapshot.to_plain(run.teaching.actions) if run.teaching else None,
        "self_imitation": run.self_imitation.state_dict() if run.self_imitation else None,
        "rollout": run.rollout.state_dict() if run.rollout is not None and with_replay else None,
        "replay": [b.state_dict() for b in run.replay_buffers] if with_replay else None,
    }


def restore(run: Run, state: Mapping[str, Any], path: Path) -> None:
    """Put a freshly built run where the snapshot's run was; the run's own config holds.

    Raises:
        UserError: the snapshot was made for another task or other networks, or the file holds
            something else.
    """
    require(state, _KEYS, path)
    here = describe_spaces(run.observation_space, run.action_space)
    check_spaces(state["spaces"], here, path)
    load_agent(run.agent, state["agent"], state["training"], path)
    try:
        _restore(run, state)
    except UserError:
        raise
    except Exception as error:  # of any kind, by what the file holds in place of a run
        raise UserError(
            f"snapshot {path} cannot be continued: {reason(error)}; give another, or start anew"
        ) from error


def _restore(run: Run, state: Mapping[str, Any]) -> None:
    """All of a run but its agent. What does not fit raises, of whatever kind."""
    resume_checks.check_counters(state)
    run.progress = Progress.from_state_dict(state["progress"])
    score = state.get("best_score")
    run.snapshots.best_score = None if score is None else tuple(score)
    run.past_time = state["total_time"]
    run.episodes.load_state_dict(state["episodes"])
    if state.get("replay") is not None:
        for buffer, content in zip(run.replay_buffers, state["replay"], strict=False):
            buffer.load_state_dict(content)
    same_envs = len(state["episodes"]["running"][0]) == run.cfg.num_train_envs
    running = state.get("env") is not None and state.get("observations") is not None
    if run.train_envs is not None and running and same_envs:
        resume_checks.check_running(run, state)
        run.train_envs.load_state_dict(state["env"])
        run.observations = {key: value.numpy() for key, value in state["observations"].items()}
        if run.teaching is not None and state.get("teacher_actions") is not None:
            run.teaching.actions = state["teacher_actions"].numpy()
        if run.self_imitation is not None and state.get("self_imitation") is not None:
            run.self_imitation.load_state_dict(state["self_imitation"])
        if run.rollout is not None and state.get("rollout") is not None:
            run.rollout.load_state_dict(state["rollout"])
    else:  # the environments start new episodes
        run.observations = None
        run.episodes.forget()
        for buffer in run.replay_buffers:
            buffer.abandon_open_episodes()
    load_rng_state(state["rng"])


def rng_state() -> dict[str, Any]:
    """State of the generators that `set_seed_everywhere` seeds."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the one that is seeded
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "python": random.getstate(),
    }


def load_rng_state(state: Mapping[str, Any]) -> None:
    """Restore `rng_state()`; CUDA generators only where the number of devices is the same."""
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    name, keys, position, *rest = state["numpy"]
    if type(position) is not int or not 0 <= position <= len(keys):
        # numpy takes any, and reads beyond its keys with it.
        raise ValueError("the state of a generator is not one")
    np.random.set_state((name, keys, position, *rest))  # noqa: NPY002
    random.setstate(state["python"])


def require(state: Mapping[str, Any], keys: Sequence[str], path: Path) -> None:
    """Raise UserError unless what was read from `path` has these entries of a run's snapshot."""
    absent = [key for key in keys if key not in state]
    if absent:
        raise UserError(
            f"{path} is not a snapshot of robobase.train: it has no {', '.join(absent)}; "
            "give a file of a run's snapshots folder"
        )


def describe_spaces(observation_space: spaces.Dict, action_space: spaces.Box) -> dict[str, str]:
    """`{"observation rgb": "(3, 2, 84, 84) uint8", ..., "action": "(1, 6) float32"}`."""
    entries = {f"observation {key}": space for key, space in observation_space.items()}
    entries["action"] = action_space
    return {name: f"{space.shape} {space.dtype}" for name, space in sorted(entries.items())}


def check_spaces(stored: Mapping[str, str], current: Mapping[str, str], path: Path) -> None:
    """Raise UserError if a snapshot was made for other observations or actions."""
    if not isinstance(stored, Mapping) or not all(
        isinstance(text, str) and len(text) < 200 for pair in stored.items() for text in pair
    ):
        raise UserError(f"snapshot {path} does not say what it observes; give another")
    differing = [
        f"{name} {stored.get(name, 'absent')} there, {current.get(name, 'absent')} here"
        for name in sorted(stored.keys() | current.keys())
        if stored.get(name) != current.get(name)
    ]
    if differing:
        raise UserError(
            f"snapshot {path} belongs to another task: {'; '.join(differing)}; "
            "use the env settings it was trained with"
        )


def check_weights(agent: Method, weights: Any, path: Path) -> None:
    """Raise UserError unless `weights` have the names and shapes of the agent's own."""
    here = {name: tuple(value.shape) for name, value in agent.state_dict().items()}
    there = (
        {name: tuple(getattr(value, "shape", ())) for name, value in weights.items()}
        if isinstance(weights, Mapping)
        else {}
    )
    other = sorted(
        str(name) for name in here.keys() | there.keys() if here.get(name) != there.get(name)
    )
    if other:
        raise UserError(
            f"snapshot {path} does not fit this method's networks ({len(other)} weights differ, "
            f"the first is {other[0]:.100}); use the method settings it was trained with"
        )


def load_agent(
    agent: Method, weights: Mapping[str, Any], training: Mapping[str, Any], path: Path
) -> None:
    """Restore an agent and its optimisers.

    Raises:
        UserError: the agent of this config has other networks than the one that was saved, or its
            weights are not finite.
    """
    _check_finite(weights, path)
    _check_finite(training, path)
    try:
        agent.load_state_dict(weights)
        agent.load_training_state(dict(training))
    except Exception as error:  # of any kind, by what stands in place of weights
        raise UserError(
            f"snapshot {path} does not fit this method's networks ({reason(error)}); "
            "use the method settings it was trained with"
        ) from error


def _check_finite(node: Any, path: Path) -> None:
    """Raise UserError where a tensor holds nan or infinity: a training that went wrong."""
    if isinstance(node, Mapping):
        for value in node.values():
            _check_finite(value, path)
    elif (
        isinstance(node, torch.Tensor)
        and node.is_floating_point()
        and not torch.isfinite(node).all()
    ):
        raise UserError(
            f"snapshot {path} cannot be used: its weights hold numbers that are not finite; "
            "its training went wrong, give an earlier one"
        )
