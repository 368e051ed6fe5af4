"""Whether anything reads a setting: what a person gave by hand has to have an effect."""

import inspect
from collections.abc import Mapping
from typing import Any

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from robobase.errors import UserError
from robobase.settings import tree
from robobase.settings.check import declared
from robobase.settings.kinds import close_to, shown
from robobase.settings.setting import Setting

_FILLED_IN = {
    *("self", "args", "kwargs", "kw", "observation_space", "action_space", "device"),
    *("num_train_envs", "replay_alpha", "replay_beta", "frame_stack_on_channel"),
    "intrinsic_reward_module",
}
"""Parameters of a method that are no settings of it."""

_OFF = (None, False, 0)  # turning off what is off already harms nobody


def check_effect(
    cfg: DictConfig, given: Mapping[str, Any], task: Mapping[str, Setting] | None = None
) -> None:
    """Raise UserError that names the settings of `given` (key: value) which nothing reads.

    Config files may hold settings for cases that do not occur; a person who types one means it.
    Whether the method's class takes a setting is asked of the class, which is imported for it.
    """
    readers = Readers(cfg, task)
    given = readers.whole(given)
    idle = {
        key: readers.why_not(key)
        for key, value in given.items()
        if not any(value is off or (value == off and value is not True) for off in _OFF)
    }
    lines = [f"{key}={shown(given[key])} ({why})" for key, why in idle.items() if why]
    if lines:
        these = "these settings have" if len(lines) > 1 else "this setting has"
        raise UserError(f"{these} no effect here: {'; '.join(lines)}")


class Readers:
    """Knows why a setting of `cfg` is not read, if it is not."""

    def __init__(self, cfg: DictConfig, task: Mapping[str, Setting] | None = None):
        self._cfg = cfg
        self._known = declared(cfg, task)
        self._knows_all = task is not None
        self._referrers = tree.referrers(dict(tree.leaves(tree.raw(cfg), stop_at=self._known)))
        self._asked: set[str] = set()

    def whole(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` with settings that are mappings, such as `env.stage={0: 1}`, as one each."""
        found: dict[str, Any] = {}
        for key, value in given.items():
            above = next((group for group in tree.groups_above(key) if group in self._known), None)
            found |= {key: value} if above is None else {above: tree.at(tree.raw(self._cfg), above)}
        return found

    def why_not(self, key: str) -> str | None:
        """Why nothing reads `key`; None where something does, or where that is not known."""
        if key in self._asked:
            return "it is read only by itself"
        self._asked.add(key)
        try:
            why = self._own_reason(key)
            if why is not None and any(self.why_not(name) is None for name in self._refer_to(key)):
                return None
            return why
        finally:
            self._asked.remove(key)

    def _own_reason(self, key: str) -> str | None:
        group, _, name = key.rpartition(".")
        parameters = _parameters(self._cfg, group)
        if parameters is not None and name[0] != "_" and name not in parameters:
            owner = OmegaConf.select(self._cfg, f"{group}._target_").rpartition(".")[2]
            last = name.rpartition("_")[2]  # actor_lr: lr
            hint = close_to(last if last in parameters else name, sorted(parameters))
            return f"{owner} does not take it{hint}"
        if key not in self._known:
            anybody = not self._knows_all or parameters is not None or name[0] == "_"
            return None if anybody else f"nothing reads it{close_to(key, list(self._known))}"
        for need in self._known[key].needs:
            if not need.keys:
                return need.says
            values = [self._in_force(name) for name in need.keys]
            if not need.holds(*values):
                now = ", ".join(f"{n}={shown(v)}" for n, v in zip(need.keys, values, strict=True))
                return f"read only with {need.says}, now {now}"
        return None

    def _in_force(self, key: str) -> Any:
        """The value of `key`; null where nothing reads it. What is asked about counts as read."""
        if key not in self._asked and self.why_not(key):
            return None
        return OmegaConf.select(self._cfg, key, default=None)

    def _refer_to(self, key: str) -> set[str]:
        names = (key, *tree.groups_above(key))
        return set().union(*(self._referrers.get(name, set()) for name in names))


def surplus(cfg: DictConfig, group: str) -> list[str]:
    """Keys of a group that the class it names does not take."""
    parameters = _parameters(cfg, group)
    if parameters is None:
        return []
    keys = map(str, OmegaConf.select(cfg, group))
    return [key for key in keys if key[0] != "_" and key not in parameters]


def _parameters(cfg: DictConfig, group: str) -> set[str] | None:
    """What the class of `cfg.<group>._target_` takes; None for another group, or if it takes all.

    The classes of methods and their models are asked, which are ours or written for us.
    """
    if group.partition(".")[0] not in ("method", "intrinsic_reward_module"):
        return None
    target = OmegaConf.select(cfg, f"{group}._target_")
    if target is None:
        return None
    accepted: set[str] = set()
    for base in get_class(target).__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        accepted |= {p.name for p in parameters}
        if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters):
            break  # a class that hands nothing on to its bases
    return accepted - _FILLED_IN
