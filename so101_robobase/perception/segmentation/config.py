"""Settings of a training: `cfgs/segmentation.yaml` with a preset and the user's changes."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import so101_robobase
from robobase.errors import UserError
from so101_robobase.config import from_mapping
from so101_robobase.perception.segmentation.augmentation import AugmentationConfig
from so101_robobase.perception.segmentation.losses import LOSSES
from so101_robobase.perception.segmentation.model import ModelSpec

PRESETS = ("home", "full")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass
class ModelSettings:
    """`ModelSpec` before the decoder's options are chosen, and where the encoder starts."""

    decoder: str
    encoder: str
    encoder_weights: str
    size: tuple[int, int]
    decoder_options: Mapping[str, Mapping[str, Any]]

    @property
    def spec(self) -> ModelSpec:
        options = dict(self.decoder_options.get(self.decoder, {}))
        return ModelSpec(self.decoder, self.encoder, self.size, options)


@dataclass
class DataSettings:
    """Labelled folders, and how they are shared out."""

    validation_fraction: float
    extra_repeat: int
    folders: Sequence[str] = ()
    extra: Sequence[str] = ()
    validation: Sequence[str] = ()
    test: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.validation_fraction < 1:
            raise UserError(
                f"data.validation_fraction={self.validation_fraction} must be 0 or more, below 1"
            )
        if self.validation_fraction == 0 and not self.validation:
            raise UserError(
                "data.validation_fraction=0 leaves nothing to choose the best network by; give "
                "--validation a folder, or a fraction such as 0.05"
            )
        if self.extra_repeat < 1:
            raise UserError(f"data.extra_repeat={self.extra_repeat} must be 1 or more")


@dataclass
class Optimisation:
    """The loss, and how it is minimised. See `cfgs/segmentation.yaml`."""

    epochs: int
    batch_size: int
    loss: str
    learning_rate: float
    weight_decay: float
    warmup_share: float
    clip_norm: float
    patience: int
    save_minutes: float

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UserError(
                f"optimisation.loss={self.loss!r} is unknown; known: {', '.join(LOSSES)}"
            )
        for name in ("epochs", "learning_rate", "clip_norm", "save_minutes"):
            if not getattr(self, name) > 0:
                raise UserError(f"optimisation.{name}={getattr(self, name)} must be above 0")
        if self.batch_size < 2:
            raise UserError(
                f"optimisation.batch_size={self.batch_size}: batch normalisation needs 2 or more"
            )
        if self.weight_decay < 0 or self.patience < 0:
            raise UserError("optimisation.weight_decay and patience must be 0 or more")
        if not 0 <= self.warmup_share < 1:
            raise UserError(
                f"optimisation.warmup_share={self.warmup_share} must be 0 or more, below 1"
            )


@dataclass
class TrainingConfig:
    """One training. Lengths are pixels, durations what their names say."""

    seed: int
    device: str
    precision: str
    num_threads: int | None
    num_workers: int
    cache: bool
    model: ModelSettings
    data: DataSettings
    optimisation: Optimisation
    augmentation: AugmentationConfig

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UserError(f"precision={self.precision!r} is unknown; known: {PRECISIONS}")
        if self.num_workers < 0:
            raise UserError(f"num_workers={self.num_workers} must be 0 or more")
        crop, size = self.augmentation.crop, self.model.spec.size
        if any(
            edge < 32 or edge % 32 or edge > limit for edge, limit in zip(crop, size, strict=True)
        ):
            raise UserError(
                f"augmentation.crop={list(crop)} must be [height, width] in multiples of 32, at "
                f"most model.size={list(size)}"
            )


def settings(preset: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The settings of `preset` with `overrides` as key=value.

    Raises UserError if the preset or a key is unknown or a value has no such form.
    """
    content = OmegaConf.load(_folder() / "segmentation.yaml")
    assert isinstance(content, DictConfig)
    presets = content.pop("presets")
    if preset not in presets:
        raise UserError(f"preset {preset!r} is unknown; known: {', '.join(presets)}")
    return changed(_merged(content, presets[preset]), overrides)


def changed(content: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """`content` with `overrides`. Raises UserError as `settings` does."""
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or not key:
            raise UserError(
                f"{override!r} is no setting; write key=value, as in model.decoder=unet"
            )
        _check_known(content, key)
    try:
        return _merged(content, OmegaConf.from_dotlist(list(overrides)))
    except OmegaConfBaseException as error:
        raise UserError(f"settings {' '.join(overrides)}: {_first_line(error)}") from error


def checked(content: DictConfig) -> TrainingConfig:
    """The settings as dataclasses. Raises UserError if a value is not allowed."""
    values: Any = OmegaConf.to_container(content)
    return from_mapping(TrainingConfig, values, "")


def _check_known(content: DictConfig, key: str) -> None:
    parts = key.split(".")
    if parts[:2] == ["model", "decoder_options"]:
        return
    node: Any = content
    for part in parts:
        if not isinstance(node, DictConfig) or part not in node:
            known = [str(name) for name in node] if isinstance(node, DictConfig) else []
            close = difflib.get_close_matches(part, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"
            raise UserError(f"setting {key!r} is unknown{hint}")
        node = node[part]


def _merged(content: DictConfig, changes: Any) -> DictConfig:
    merged = OmegaConf.merge(content, changes)
    assert isinstance(merged, DictConfig)
    return merged


def _folder() -> Path:
    package = Path(so101_robobase.__file__).parent
    installed = package / "cfgs"  # in a wheel; a checkout has it beside the package
    return installed if installed.is_dir() else package.parent / "cfgs"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
