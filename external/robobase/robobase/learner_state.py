"""Saved states of optimisers and schedulers, taken back only where they fit.

torch's own `load_state_dict` of both takes whatever it is given and fails, or goes wrong, later.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

_ADAM = {"step", "exp_avg", "exp_avg_sq"}


def load_learner(learner: Optimizer | LRScheduler, state: Any) -> None:
    """Restore an optimiser or a scheduler. Raises ValueError where `state` is not one of it."""
    if isinstance(learner, Optimizer):
        load_optimizer(learner, state)
    else:
        check_alike(state, learner.state_dict(), "a scheduler")
        learner.load_state_dict(state)


def load_optimizer(optimizer: Optimizer, state: Any) -> None:
    """Restore the moments; rates and other settings stay as they are.

    A rate that a scheduler changes is restored too: the scheduler goes on from it.

    Raises:
        ValueError: the state of another optimiser, or numbers in it that are not finite.
    """
    own = [dict(group) for group in optimizer.param_groups]
    present = optimizer.state_dict()
    if not isinstance(state, Mapping) or not present.keys() <= state.keys():
        raise ValueError("an optimiser's state is none")
    groups = state["param_groups"]
    here = [group["params"] for group in present["param_groups"]]
    if not isinstance(groups, list) or [_members(group) for group in groups] != here:
        raise ValueError("an optimiser's state is of other parameters")
    parameters = [parameter for group in own for parameter in group["params"]]
    if not isinstance(state["state"], Mapping):
        raise ValueError("an optimiser's state is none")
    for index, moments in state["state"].items():
        if type(index) is not int or not 0 <= index < len(parameters):
            raise ValueError("an optimiser's state is of other parameters")
        _check_moments(moments, parameters[index], isinstance(optimizer, Adam | AdamW))
    rates = [group.get("lr") for group in groups]
    optimizer.load_state_dict(
        {"state": state["state"], "param_groups": [dict(g) for g in present["param_groups"]]}
    )
    for group, settings, rate in zip(optimizer.param_groups, own, rates, strict=True):
        group |= {key: value for key, value in settings.items() if key != "params"}
        if "initial_lr" in settings:
            if not isinstance(rate, int | float) or not math.isfinite(rate) or rate < 0:
                raise ValueError("an optimiser's rate is no number")
            group["lr"] = rate


def check_alike(value: Any, template: Any, what: str) -> None:
    """Raise ValueError unless `value` is built as `template`: keys, kinds, shapes of tensors.

    Keys may be missing, and lists of another length. Where the template holds None or nothing, any
    value may stand. Numbers must be finite.
    """
    if isinstance(template, torch.Tensor):
        fits = isinstance(value, torch.Tensor) and value.shape == template.shape
        fits = fits and value.dtype == template.dtype
    elif isinstance(template, Mapping):
        fits = isinstance(value, Mapping)
        if fits and template:
            unknown = value.keys() - template.keys()
            if unknown:
                raise ValueError(f"{what} has {next(iter(unknown))!r:.50}, which is unknown")
            for key in value:
                check_alike(value[key], template[key], f"{what}: {key}")
    elif isinstance(template, list | tuple):
        fits = isinstance(value, list | tuple)
        if fits and template:
            for item in value:
                check_alike(item, template[0], what)
    elif isinstance(template, bool | str):
        fits = type(value) is type(template)
    elif isinstance(template, int):
        fits = type(value) is int
    elif isinstance(template, float):
        fits = type(value) in (int, float) and math.isfinite(value)
    else:
        fits = True
    if not fits:
        raise ValueError(f"{what} is {_described(value)}, not {_described(template)}")


def _members(group: Any) -> Any:
    return group.get("params") if isinstance(group, Mapping) else None


def _check_moments(moments: Any, parameter: torch.Tensor, is_adam: bool) -> None:
    if not isinstance(moments, Mapping) or not all(isinstance(key, str) for key in moments):
        raise ValueError("an optimiser's state is none")
    if is_adam and not moments.keys() >= _ADAM:
        raise ValueError("an optimiser's state lacks moments")
    for name, moment in moments.items():
        shape = torch.Size([]) if name == "step" else parameter.shape
        if isinstance(moment, torch.Tensor):
            fits = moment.shape == shape and bool(
                moment.is_floating_point() and torch.isfinite(moment).all()
            )
        else:
            fits = type(moment) in (int, float) and math.isfinite(moment) and not shape
        if fits and name in ("step", "exp_avg_sq"):
            fits = bool((torch.as_tensor(moment) >= 0).all())
        if not fits:
            raise ValueError(f"an optimiser's {name!r:.50} does not fit")


def _described(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    return (
        f"{value!r:.50}"
        if value is None or type(value) in (int, float, bool)
        else (type(value).__name__)
    )
