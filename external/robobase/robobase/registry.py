"""The classes that a stranger's config may have built: names by kind, and where each may stand.

A config of one's own (the command line, `cfgs/`) is one's own code and names what it likes. One
that came in a file, a snapshot's, is data: it may choose among what is registered here, and
nothing else is imported. A package adds its parts with `register`, in its `__init__`; names are
texts, so that this costs no import.
"""

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from robobase.errors import UserError, short


class Slot(NamedTuple):
    """A key of the config that holds a part: its kind, and whether it is called later (partial)."""

    kind: str
    partial: bool = False


SLOTS = {
    "env_factory": Slot("environment"),
    "method": Slot("method"),
    "method.*_model": Slot("model", partial=True),
    "intrinsic_reward_module": Slot("intrinsic reward"),
    "logger": Slot("logger"),
    "snapshot_keeper": Slot("snapshot keeper"),
    "snapshot_keeper.ranking": Slot("ranking", partial=True),
}
"""Where `_target_` may stand in a config; `*` stands for letters of one key."""

_BASES = {  # what a class of a package that the user trusts must be
    "environment": "robobase.envs.env.EnvFactory",
    "method": "robobase.method.core.Method",
    "model": "torch.nn.Module",
    "intrinsic reward": "robobase.intrinsic_reward_module.core.IntrinsicRewardModule",
    "logger": "robobase.logger.Logger",
    "snapshot keeper": "robobase.snapshot.SnapshotKeeper",
}
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_registered: dict[str, set[str]] = {slot.kind: set() for slot in SLOTS.values()}
_moved: dict[str, str] = {}  # earlier name: the present one


def register(kind: str, *names: str, earlier: Sequence[str] = ()) -> None:
    """Let stored configs have `names` built (`package.module.Class`) where `kind` may stand.

    `earlier` are names that the last of them had before; what stands in old files is built as it.
    A package that registers anything is held to its list: trust in it opens no more.
    """
    if kind not in _registered:
        raise ValueError(f"kind {kind!r} is unknown; known: {', '.join(_registered)}")
    _registered[kind].update(names)
    _moved.update(dict.fromkeys(earlier, names[-1]))


def follow_moves(config: Any) -> None:
    """Put the present names in place of earlier ones in `config` (plain containers), in place."""
    for _, group in _groups(config, ()):
        name = group.get("_target_")
        if isinstance(name, str) and name in _moved and isinstance(group, dict):
            group["_target_"] = _moved[name]


def registered(kind: str) -> list[str]:
    """The names of a kind."""
    return sorted(_registered[kind])


def check(config: Any, where: str, trusted: Sequence[str] = ()) -> None:
    """Raise UserError unless `config` has nothing built but what is registered, at its place.

    Args:
        config: plain containers without interpolations: exactly what will be built from.
        where: whose config it is, for messages.
        trusted: packages of which any class of the right kind may be built too. They are imported.
    """
    for path, group in _groups(config, ()):
        special = {key for key in group if isinstance(key, str) and key[:1] == key[-1:] == "_"}
        if not special:
            continue
        key = ".".join(path)
        slot = next((slot for place, slot in SLOTS.items() if _matches(path, place)), None)
        if slot is None:
            raise UserError(
                f"{where} wants something built or run at {short(key)}: "
                f"{short(group.get('_target_'))}; only {', '.join(SLOTS)} hold parts"
            )
        surplus = special - ({"_target_", "_partial_"} if slot.partial else {"_target_"})
        if surplus or group.get("_partial_", True) is not True:
            raise UserError(
                f"{where} has {short(sorted(surplus) or '_partial_')} at {key}, which is not "
                "allowed in a stored config"
            )
        _check_name(group.get("_target_"), slot.kind, key, where, trusted)


def _check_name(name: Any, kind: str, key: str, where: str, trusted: Sequence[str]) -> None:
    if not isinstance(name, str) or name in _registered[kind]:
        allowed = isinstance(name, str)
    else:
        package = name.split(".")[0]
        held_to_list = {other.split(".")[0] for names in _registered.values() for other in names}
        allowed = package in trusted and package not in held_to_list
        if allowed and (refusal := _why_not(name, kind)):
            raise UserError(f"{where} wants to run {short(name)} as {key}, which {refusal}")
    if not allowed:
        raise UserError(
            f"{where} wants to run {short(name)} as {key}, which is none of "
            f"{', '.join(registered(kind))}; if you trust its author, name the package with "
            f"--trust (a class of its own of the kind {kind!r} is then allowed)"
        )


def _why_not(name: str, kind: str) -> str | None:
    """Why `name`, of a trusted package, is no class of this kind defined there; None: it is one."""
    base, package = _BASES.get(kind), name.split(".")[0]
    if base is None or not _NAME.fullmatch(name):
        return f"is no class of the kind {kind!r}"
    try:
        part = _find(name)
    except Exception as error:  # whatever an import may raise
        told = f"{type(error).__name__}: {short(str(error))}"
        return f"cannot be imported ({told}); is the folder of {package} on PYTHONPATH?"
    inside = getattr(part, "__module__", "").split(".")[0] == package
    if not (inside and isinstance(part, type) and issubclass(part, _find(base))):
        return f"is no {base} defined in {package}"
    return None


def _find(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _groups(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping]]:
    """Every mapping in `node` with its path; positions in lists are parts of paths."""
    if isinstance(node, Mapping):
        yield path, node
        items = list(node.items())
    elif isinstance(node, list | tuple):
        items = list(enumerate(node))
    else:
        return
    for key, value in items:
        yield from _groups(value, (*path, str(key)))


def _matches(path: tuple[str, ...], place: str) -> bool:
    parts = place.split(".")
    return len(parts) == len(path) and all(map(fnmatchcase, path, parts))


register(
    "method",
    *(
        f"robobase.method.{name}"
        for name in ("bc.BC", "dagger.DAgger", "drqv2.DrQV2", "ppo.PPO", "sac.SAC")
    ),
)
register(
    "model",
    "robobase.models.EncoderCNNMultiViewDownsampleWithStrides",
    "robobase.models.FusionMultiCamFeature",
    "robobase.models.FusionMultiCamFeatureAttention",
    "robobase.models.MLPWithBottleneckFeatures",
    "robobase.models.MLPWithBottleneckFeaturesAndSequenceOutput",
    "robobase.models.MLPWithBottleneckFeaturesAndWithoutHead",
)
register(
    "intrinsic reward",
    "robobase.intrinsic_reward_module.ICM",
    "robobase.intrinsic_reward_module.RND",
)
register("logger", "robobase.logger.Logger")
register("snapshot keeper", "robobase.snapshot.SnapshotKeeper")
register("ranking", "robobase.snapshot.success_then_reward")
