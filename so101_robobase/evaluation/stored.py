"""A snapshot's config and the caller's overrides, checked before anything is built from it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robobase import registry, run_state, stored_config
from robobase.errors import UserError
from so101_robobase.config import LiftConfig
from so101_robobase.sim.sight import SCENE, SIMULATED

OPENED: dict[str, tuple[Any, ...]] = {
    "env.sight.segmentation": (None,),
    "env.sight.depth": (SCENE, SIMULATED),
    "env.scene.robot_xml": (None,),
    "env.scene.alignment": (None,),
    "env.corruption.report": (None,),
}
"""Keys that name a file or a network to open, with their values that name none. What a snapshot
names there is opened only where the caller names it too."""

_NEWER_GROUPS = ("randomization", "corruption", "sight")  # than the first snapshots
_MOST = {  # of what environments and networks are made by, whatever the weights' shapes
    "num_train_envs": 100_000,
    "frame_stack": 100,
    "action_repeat": 1000,
    "action_sequence": 1000,
    "execution_length": 1000,
}
_MOST_WIDTH = 65_536  # of a layer
_MOST_LAYERS = 64
_MOST_OF_METHOD = {
    "num_critics": 64,
    "distributional_critic_atoms": 65_536,
    "rollout_length": 1_000_000,
    "image_stride": 1000,
    "augmentation_pixels": 1000,
}


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
    _add_newer_keys(tree, snapshot)
    _check_opened(tree, overrides, snapshot)
    cfg = _override(OmegaConf.create(tree), overrides)
    # What is checked is what will be built from: no interpolation is left that could change it.
    checked = stored_config.parse(stored_config.to_text(cfg), f"snapshot {snapshot}")
    registry.check(checked, f"snapshot {snapshot}", trusted)
    _check_sizes(checked, snapshot)
    return OmegaConf.create(checked)


def _check_sizes(tree: dict[str, Any], snapshot: Path) -> None:
    """Raise UserError for numbers with which building would take all memory, or never end."""
    for key, most in _MOST.items():
        value = tree.get(key)
        if type(value) is not int or not 0 <= value <= most:
            raise _bad(snapshot, key, value, f"a whole number up to {most:,}")
    for name, value in tree["method"].items():
        if name.endswith("_model") and isinstance(value, dict):
            for key, size in value.items():
                sizes = size if isinstance(size, list) else [size]
                most = _MOST_LAYERS if key.startswith("num_") and "layer" in key else _MOST_WIDTH
                if len(sizes) > _MOST_LAYERS or any(
                    type(item) in (int, float) and not -most <= item <= most for item in sizes
                ):
                    raise _bad(snapshot, f"method.{name}.{key}", size, f"up to {most:,}")
        elif name in _MOST_OF_METHOD and type(value) is int and value > _MOST_OF_METHOD[name]:
            raise _bad(snapshot, f"method.{name}", value, f"up to {_MOST_OF_METHOD[name]:,}")


def _bad(snapshot: Path, key: str, value: Any, allowed: str) -> UserError:
    return UserError(f"snapshot {snapshot}: {key}={value!r:.60} is not allowed; {allowed} may be")


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
    """What the first snapshots do not have, off, so that it can be overridden."""
    default = LiftConfig()
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
