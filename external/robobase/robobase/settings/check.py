"""Whether the values of a composed config are of their kinds and within their ranges."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robobase.errors import UserError, first_line
from robobase.settings import tree
from robobase.settings.kinds import Flag, Target, checked, close_to, shown
from robobase.settings.method_settings import PARTS
from robobase.settings.run_settings import RUN
from robobase.settings.setting import Setting

_CLOSED = ("replay", "tb", "wandb")  # groups that hold nothing but what is declared
_MAY_BE_NULL = (
    "env_factory",
    "method",
    "env",
    "intrinsic_reward_module",
    "method.encoder_model",
    "method.view_fusion_model",
)
_OURS = "robobase."
_FEW = 12  # members of a group that an error names


def declared(cfg: DictConfig, task: Mapping[str, Setting] | None = None) -> dict[str, Setting]:
    """The settings of this run by key: the engine's, and those of the `task` in `cfg.env`.

    What is built from a class of somebody else is not known here, and left to that class.
    """
    known = dict(RUN)
    content = tree.raw(cfg)
    for group, settings in PARTS.items():
        target = tree.at(content, f"{group}._target_")
        if target is None or str(target).startswith(_OURS):
            known |= {f"{group}.{key}": setting for key, setting in settings.items()}
    return known | dict(task or {})


def check_values(cfg: DictConfig, task: Mapping[str, Setting] | None = None) -> None:
    """Raise UserError for the first value that its setting does not allow.

    Whole numbers that were written as 1e6 become whole numbers in `cfg`.
    """
    known = declared(cfg, task)
    groups = {group for key in known for group in tree.groups_above(key)}
    flat = dict(tree.leaves(tree.raw(cfg), stop_at=known))
    for key in RUN:
        if key not in flat and not any(group in flat for group in tree.groups_above(key)):
            if key.endswith("_target_") or key.startswith("snapshot_keeper."):
                continue  # a group that is chosen, or somebody else's
            raise UserError(f"{key} is missing; give {RUN[key].kind}")
    closed = (*_CLOSED, "env") if task is not None else _CLOSED
    later = []
    for key, value in flat.items():
        if key in groups:
            _check_group(key, value, known)
        elif tree.has_reference(value):
            later.append(key)
        elif key not in known and key.partition(".")[0] in closed:
            raise UserError(f"{key} is unknown{close_to(key, list(known))}")
        else:
            _check(cfg, key, value, known)
    for key in later:
        _check(cfg, key, _resolved(cfg, key, flat[key]), known)


def _check(cfg: DictConfig, key: str, value: Any, known: Mapping[str, Setting]) -> None:
    if key in known:
        kind = known[key].kind
    elif key.endswith("._target_"):
        kind = Target()
    elif key.endswith("._partial_"):
        kind = Flag()
    else:
        return
    meant = checked(kind, key, value)
    if isinstance(meant, int | str) and type(meant) is not type(value):
        OmegaConf.update(cfg, key, meant)


def _check_group(key: str, value: Any, known: Mapping[str, Setting]) -> None:
    if value is None and key in _MAY_BE_NULL:
        return
    below = [name.removeprefix(f"{key}.") for name in known if name.startswith(f"{key}.")]
    members = list(dict.fromkeys(name.partition(".")[0] for name in below))
    more = " ..." if len(members) > _FEW else ""
    raise UserError(
        f"{key}={shown(value)} is not allowed; it is a group of settings: "
        f"{', '.join(members[:_FEW])}{more}"
    )


def _resolved(cfg: DictConfig, key: str, written: Any) -> Any:
    try:
        value = OmegaConf.select(cfg, key)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except (OmegaConfBaseException, RecursionError) as error:
        raise UserError(
            f"{key}={shown(written)} cannot be resolved: {first_line(error)}"
        ) from error
