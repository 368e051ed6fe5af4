"""A snapshot's config and the caller's overrides, checked before anything is built from it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robobase import registry, run_state, stored_config
from robobase.errors import UserError
from robobase.settings.check import declared
from robobase.settings.kinds import checked
from robobase.settings.tree import leaves, raw
from so101_robobase.sim.sight import SCENE, SIMULATED
from so101_robobase.tasks.entry import config_class
from so101_robobase.tasks.settings import settings_of

OPENED: dict[str, tuple[Any, ...]] = {
    "env.sight.segmentation": (None,),
    "env.sight.depth": (SCENE, SIMULATED),
    "env.scene.robot_xml": (None,),
    "env.scene.arm": (None,),
    "env.scene.alignment": (None,),
    "env.corruption.report": (None,),
}
"""Keys that name a file or a network to open, with their values that name none. What a snapshot
names there is opened only where the caller names it too."""

_NEWER_GROUPS = ("randomization", "corruption", "sight")  # than the first snapshots
_OUR_FACTORY = "so101_robobase.envs.factory.SO101Factory"


def config_of(
    snapshot: Path,
    payload: Mapping[str, Any],
    overrides: Mapping[str, Any],
    trusted: Sequence[str],
) -> DictConfig:
    """The stored config with the caller's overrides: resolved, checked, ready to be built from."""
    run_state.require(payload, ("cfg", "spaces", "agent", "training"), snapshot)
    tree = stored_config.parse(payload["cfg"], f"snapshot {snapshot}")
    missing = [
        key for key in ("env_factory", "method", "env") if not isinstance(tree.get(key), dict)
    ]
    if missing:
        raise UserError(
            f"the config of snapshot {snapshot} has no {' or '.join(missing)}; "
            "give a snapshot of `python -m robobase.train env=so101_lift`"
        )
    stored_config.forget_outputs(tree)
    registry.follow_moves(tree)
    _add_newer_keys(tree, snapshot)
    _check_opened(tree, overrides, snapshot)
    cfg = _override(OmegaConf.create(tree), overrides)
    # What is checked is what will be built from: no interpolation is left that could change it.
    tree = stored_config.parse(stored_config.to_text(cfg), f"snapshot {snapshot}")
    registry.check(tree, f"snapshot {snapshot}", trusted)
    cfg = OmegaConf.create(tree)
    _check_values(cfg, snapshot, overrides)
    return cfg


def _check_values(cfg: DictConfig, snapshot: Path, overrides: Mapping[str, Any]) -> None:
    """Raise UserError for a value that a run could not have had. Older files lack newer keys."""
    known = declared(cfg, settings_of(config_class(cfg)) if _is_ours(raw(cfg)) else None)
    for key, value in leaves(raw(cfg), stop_at=known):
        forgotten = any(f"{key}.".startswith(f"{name}.") for name in stored_config.FORGOTTEN)
        if key in known and not forgotten:
            try:
                checked(known[key].kind, key, value)
            except UserError as error:
                if key in overrides:
                    raise
                raise UserError(f"snapshot {snapshot}: {error}") from error


def _is_ours(tree: Mapping[str, Any]) -> bool:
    return tree["env_factory"].get("_target_") == _OUR_FACTORY


def _check_opened(tree: dict[str, Any], overrides: Mapping[str, Any], snapshot: Path) -> None:
    """Raise UserError for a file or a network that the snapshot alone wants opened."""
    for key, neutral in OPENED.items():
        value: Any = tree
        for group in key.split("."):
            value = value.get(group) if isinstance(value, dict) else None
        given = any(f"{key}.".startswith(f"{name}.") for name in overrides)
        if value is not None and value not in neutral and not given:
            raise UserError(
                f"snapshot {snapshot} wants {key}={value!r:.100} opened; what a snapshot names is "
                f"opened only if you name it: --overrides {key}=YOURS, or {key}="
                f"{'null' if neutral[0] is None else neutral[0]} to do without"
            )


def _add_newer_keys(tree: dict[str, Any], snapshot: Path) -> None:
    """What the first snapshots do not have, off, so that it can be overridden; the reverse too."""
    if not _is_ours(tree):
        return
    if tree["env"].get("place_target", 0) is None:
        del tree["env"]["place_target"]
    default = config_class(OmegaConf.create({"env": {"env_name": tree["env"].get("env_name")}}))()
    newer: dict[str, Any] = {
        "eval_stage": None,
        "joint_velocity": default.joint_velocity,
        "scene.alignment": None,
        "control.floor": None,
    }
    newer |= {name: asdict(getattr(default, name)) for name in _NEWER_GROUPS}
    for key, value in newer.items():
        *groups, last = key.split(".")
        node: Any = tree["env"]
        for group in groups:
            node = node.setdefault(group, {})
            if not isinstance(node, dict):
                raise UserError(
                    f"snapshot {snapshot}: env.{group}={node!r:.100} must be a group of keys"
                )
        node.setdefault(last, value)


def _override(cfg: DictConfig, overrides: Mapping[str, Any]) -> DictConfig:
    OmegaConf.set_struct(cfg, True)
    for key, value in overrides.items():
        try:
            present = OmegaConf.select(cfg, key, throw_on_missing=False)
            if not _is_alike(present, value):
                raise UserError(f"override {key}={value}: in the snapshot's config it is {present}")
            OmegaConf.update(cfg, key, value, merge=False)
        except OmegaConfBaseException as error:
            raise UserError(
                f"override {key}={value}: the snapshot's config has no such key; "
                "see config.yaml in the run's folder"
            ) from error
    OmegaConf.set_struct(cfg, False)
    return cfg


def _is_alike(present: Any, value: Any) -> bool:
    """Whether `value` may stand where `present` does: no text for a number, no leaf for a group."""
    if isinstance(present, DictConfig):
        return isinstance(value, dict)
    if isinstance(present, ListConfig):
        return isinstance(value, list | int | float)  # a spread may be a number
    return not (isinstance(present, int | float) and isinstance(value, str))
