"""What of a run goes into a snapshot, and how it comes back: a table of parts by name, walked."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from omegaconf import DictConfig

from robobase import stored_config
from robobase.errors import UserError
from robobase.method.core import Method
from robobase.reading import reason


class Part(Protocol):
    """Of a run: gives its state as plain containers and tensors, checks and takes one back."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any) -> None:
        """Raises an error, of any kind, for what does not fit."""


Parts = Mapping[str, Part | None]
"""By their names in a snapshot, in the order of loading; None where a run has no such part."""

RUNNING = ("env", "observations", "teacher_actions", "self_imitation", "rollout")
"""What the environments are in the middle of."""

_LARGE = ("rollout", "replay")  # saved only on demand
_KEYS = ("agent", "training", "progress", "episodes", "spaces", "rng")  # of every snapshot


def capture(cfg: DictConfig, agent: Method, parts: Parts, with_replay: bool) -> dict[str, Any]:
    """Everything a snapshot holds, as plain containers and tensors."""
    states: dict[str, Any] = {
        name: None if part is None or (name in _LARGE and not with_replay) else part.state_dict()
        for name, part in parts.items()
    }
    return {
        "_pretrain_step": states["progress"]["pretrain_step"],
        "_main_loop_iterations": states["progress"]["iterations"],
        "_global_env_episode": states["episodes"]["count"],
        "cfg": stored_config.to_text(cfg),
        "agent": agent.state_dict(),
        "training": agent.training_state(),
        "spaces": describe_spaces(agent.observation_space, agent.action_space),
        **states,
    }


def restore(agent: Method, parts: Parts, state: Mapping[str, Any], path: Path) -> bool:
    """Put a freshly built run where the snapshot's run was; the run's own config holds.

    Returns:
        Whether the environments go on too. With others than in the snapshot they start anew.

    Raises:
        UserError: the snapshot was made for another task or other networks, or the file holds
            something else.
    """
    require(state, _KEYS, path)
    here = describe_spaces(agent.observation_space, agent.action_space)
    check_spaces(state["spaces"], here, path)
    load_agent(agent, state["agent"], state["training"], path)
    try:
        return _load_parts(agent.num_train_envs, parts, state)
    except UserError:
        raise
    except Exception as error:  # of any kind, by what the file holds in place of a run
        raise UserError(
            f"snapshot {path} cannot be continued: {reason(error)}; give another, or start anew"
        ) from error


def _load_parts(num_envs: int, parts: Parts, state: Mapping[str, Any]) -> bool:
    environments_go_on = False
    for name, part in parts.items():
        saved = state.get(name)
        if name == "env":  # "episodes" came before it, and was looked at
            same = len(state["episodes"]["running"][0]) == num_envs
            there = saved is not None and state.get("observations") is not None
            environments_go_on = part is not None and same and there
        optional = name in RUNNING or name == "replay"
        left_out = optional and (saved is None or (name in RUNNING and not environments_go_on))
        if part is not None and not left_out:
            part.load_state_dict(saved)
    return environments_go_on


class Generators:
    """The random generators that `set_seed_everywhere` seeds."""

    def state_dict(self) -> dict[str, Any]:
        name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the one that is seeded
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [name, np.asarray(keys).tolist(), *rest],
            "python": random.getstate(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """CUDA generators only where the number of devices is the same."""
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
