"""Settings of a training: `cfgs/segmentation.yaml` with a preset and the user's changes."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import so101_robobase
from robobase import stored_config
from robobase.errors import UserError, first_line
from robobase.memory import GIB, available_memory
from robobase.settings.fields import check_fields
from robobase.settings.kinds import Choice, Number, OrNull, Text, Whole
from so101_robobase.base.settings import from_mapping
from so101_robobase.perception.segmentation.augmentation import PICTURE, AugmentationConfig
from so101_robobase.perception.segmentation.losses import LOSSES
from so101_robobase.perception.segmentation.model import ModelSpec

PRESETS = ("home", "full")
_BYTES_A_PIXEL = 100  # picture, labels and weights, and a few feature maps at a quarter of the size
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass
class ModelSettings:
    """`ModelSpec` before the decoder's options are chosen, and where the encoder starts."""

    decoder: Annotated[str, Text()]
    encoder: Annotated[str, Text()]
    encoder_weights: Annotated[str, Choice("auto", "imagenet", "none")]
    size: Annotated[tuple[int, int], PICTURE]
    decoder_options: Mapping[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        if not isinstance(self.decoder_options, Mapping) or not all(
            isinstance(options, Mapping) for options in self.decoder_options.values()
        ):
            raise UserError("model.decoder_options must be groups of keys, one for each decoder")

    @property
    def spec(self) -> ModelSpec:
        options = dict(self.decoder_options.get(self.decoder, {}))
        return ModelSpec(self.decoder, self.encoder, self.size, options)


@dataclass
class DataSettings:
    """Labelled folders, and how they are shared out."""

    validation_fraction: Annotated[float, Number(least=0, below=1)]
    extra_repeat: Annotated[int, Whole(1, 10_000)]
    folders: Sequence[str] = ()
    extra: Sequence[str] = ()
    validation: Sequence[str] = ()
    test: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_fields(self, "data")
        if self.validation_fraction == 0 and not self.validation:
            raise UserError(
                "data.validation_fraction=0 leaves nothing to choose the best network by; give "
                "--validation a folder, or a fraction such as 0.05"
            )


@dataclass
class Optimisation:
    """The loss, and how it is minimised. See `cfgs/segmentation.yaml`."""

    epochs: Annotated[int, Whole(1, 100_000)]
    batch_size: Annotated[int, Whole(2, 4096)]  # batch normalisation needs 2 or more
    loss: Annotated[str, Choice(*LOSSES)]
    learning_rate: Annotated[float, Number(above=0, most=1)]
    weight_decay: Annotated[float, Number(0, 10)]
    warmup_share: Annotated[float, Number(least=0, below=1)]
    clip_norm: Annotated[float, Number(above=0, most=10**9)]
    patience: Annotated[int, Whole(0, 100_000)]
    save_minutes: Annotated[float, Number(above=0, most=10**6)]

    def __post_init__(self) -> None:
        check_fields(self, "optimisation")


@dataclass
class TrainingConfig:
    """One training. Lengths are pixels, durations what their names say."""

    seed: Annotated[int, Whole(0, 2**31 - 1)]
    device: Annotated[str, Text()]
    precision: Annotated[str, Choice(*PRECISIONS)]
    num_threads: Annotated[int | None, OrNull(Whole(1, 1024))]
    num_workers: Annotated[int, Whole(0, 256)]
    cache: bool
    model: ModelSettings
    data: DataSettings
    optimisation: Optimisation
    augmentation: AugmentationConfig

    def __post_init__(self) -> None:
        check_fields(self, "")
        crop, size = self.augmentation.crop, self.model.spec.size
        if any(edge > limit for edge, limit in zip(crop, size, strict=True)):
            raise UserError(
                f"augmentation.crop={list(crop)} must be [height, width], at most "
                f"model.size={list(size)}"
            )
        self._check_memory()

    def _check_memory(self) -> None:
        """The pictures of a batch with what a small network makes of them, by rule of thumb."""
        height, width = self.augmentation.crop
        needed = self.optimisation.batch_size * height * width * _BYTES_A_PIXEL
        free = available_memory()
        if self.device in ("auto", "cpu") and free is not None and needed > free:
            raise UserError(
                f"batches of {self.optimisation.batch_size} pictures of {width} x {height} need "
                f"about {needed / GIB:,.1f} GiB of memory; {free / GIB:,.1f} GiB are free; lower "
                "optimisation.batch_size or augmentation.crop"
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


def stored(path: Path) -> DictConfig:
    """The settings that a run folder keeps: plain values, checked by `checked`.

    Raises UserError where they are none.
    """
    values = stored_config.load(path)
    if not isinstance(values.get("data"), dict):
        raise UserError(f"settings {path} are not those of a training; give another run's folder")
    return DictConfig(values)


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
        raise UserError(f"settings {' '.join(overrides)}: {first_line(error)}") from error


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
            close = difflib.get_close_matches(str(part), known, n=1)
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
