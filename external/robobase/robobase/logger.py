"""Logs the metrics of a run: a console line, CSV tables, TensorBoard, Weights & Biases."""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from robobase.errors import UserError
from robobase.metrics_csv import MetricsCsv
from robobase.metrics_sinks import OFFLINE, Sink, TensorBoardSink, WandbSink
from robobase.output_folder import make_unique

Format = list[tuple[str, str, str]]  # (metric, label on the console, kind: int, float or time)

COMMON_TRAIN_FORMAT: Format = [
    ("iteration", "I", "int"),
    ("env_steps", "S", "int"),
    ("env_episodes", "E", "int"),
    ("buffer_size", "B", "int"),
    ("buffer_sample_time", "BST", "float"),
    ("env_steps_per_second", "SPS", "float"),
    ("agent_batched_updates_per_second", "UPS", "float"),
    ("total_time", "T", "time"),
]
COMMON_EVAL_FORMAT: Format = [
    ("iteration", "I", "int"),
    ("env_steps", "S", "int"),
    ("env_episodes", "E", "int"),
    ("episode_length", "L", "float"),
    ("episode_reward", "R", "float"),
    ("total_time", "T", "time"),
]
COMMON_PRETRAIN_FORMAT: Format = [
    ("iteration", "I", "int"),
    ("total_time", "T", "time"),
    ("buffer_size", "B", "int"),
    ("agent_batched_updates_per_second", "UPS", "float"),
]

_FORMATS = {
    "train": COMMON_TRAIN_FORMAT,
    "eval": COMMON_EVAL_FORMAT,
    "pretrain": COMMON_PRETRAIN_FORMAT,
    "pretrain_eval": COMMON_EVAL_FORMAT,
}
_WANDB_KEYS = ("project", "entity", "name")
_ANSI_COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1"}
_PREFIX_COLOURS = {
    "train": "yellow",
    "eval": "green",
    "pretrain": "red",
    "pretrain_eval": "green",
}


class AverageMeter:
    """Running mean of the values it is given."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def update(self, value: float, n: int = 1) -> None:
        """Add `value`, the sum of `n` observations."""
        self._sum += value
        self._count += n

    def value(self) -> float:
        """The mean so far; 0 before the first update."""
        return self._sum / max(1, self._count)


class MetersGroup:
    """Means of the metrics of one prefix since the last `dump`, which prints and stores them."""

    def __init__(self, csv_file_name: Path, formating: Format, save_csv: bool):
        self._formating = formating
        self._csv = MetricsCsv(csv_file_name) if save_csv else None
        self._meters: dict[str, AverageMeter] = {}

    def log(self, key: str, value: float, n: int = 1) -> None:
        """Add `value` (the sum of `n` observations) to the mean of `key` (`prefix/metric`)."""
        self._meters.setdefault(key, AverageMeter()).update(value, n)

    def take(self) -> dict[str, float]:
        """The means by key; starts over."""
        means = {key: meter.value() for key, meter in self._meters.items()}
        self._meters.clear()
        return means

    def store(self, means: Mapping[str, float], step: int) -> None:
        """Append `means` to the CSV file, if one is kept."""
        if self._csv is not None and means:
            self._csv.write(
                step,
                {key.split("/", 1)[-1].replace("/", "_"): mean for key, mean in means.items()},
            )

    def dump(self, step: int, prefix: str) -> None:
        """Store the means, print them on one line, and start over."""
        means = self.take()
        self.store(means, step)
        if means:
            tqdm.write(self.console_line(means, prefix))

    def console_line(self, means: Mapping[str, float], prefix: str) -> str:
        """The metrics of the console format, coloured by prefix."""
        fields = [
            f"{label}: {_formatted(means[f'{prefix}/{metric}'], kind)}"
            for metric, label, kind in self._formating
            if f"{prefix}/{metric}" in means
        ]
        return " | ".join([coloured(f"{prefix:<6}", _PREFIX_COLOURS[prefix]), *fields])


class Logger:
    """Writes the metrics of a run.

    Reads `cfg.save_csv`, `cfg.wandb.{use,mode,project,entity,name}` and
    `cfg.tb.{use,log_dir,name}`; what is missing is off. Tables are
    `<log_dir>/{train,eval,pretrain,pretrain_eval}.csv`. TensorBoard events go to `<log_dir>/tb`,
    or with `tb.log_dir` to `<tb.log_dir>/<tb.name or the time>`.

    Raises:
        UserError: the package of what is on is missing, or Weights & Biases does not start.
    """

    def __init__(self, log_dir: Path, cfg: DictConfig):
        self.log_dir = Path(log_dir)
        self.cfg = cfg
        self._save_csv = bool(OmegaConf.select(cfg, "save_csv", default=False))
        self._groups: dict[str, MetersGroup] = {}
        self._sinks = _make_sinks(self.log_dir, cfg)

    def log_metrics(self, metrics: Mapping[str, Any], step: int, prefix: str) -> None:
        """Log `metrics` at `step` (environment steps).

        Args:
            metrics: numbers and 1-D arrays (`key0, key1, …`) are logged as scalars,
                `{"video": (T, H, W, C) uint8, "fps": int}` as a video, other arrays as an image
                (the first one of a batch); tensors count as arrays. Anything else is dropped.
            step: environment steps so far.
            prefix: `train`, `eval`, `pretrain` or `pretrain_eval`.
        """
        group = self._group(prefix)
        for name, value in metrics.items():
            key = f"{prefix}/{name}"
            if isinstance(value, Mapping) and "video" in value:
                self._log_video(key, value, step)
                continue
            array = _as_array(value)
            if array is None:
                continue
            if array.ndim == 0:
                group.log(key, float(array))
            elif array.ndim == 1:
                for k, number in enumerate(array):
                    group.log(f"{key}{k}", float(number))
            else:
                for sink in self._sinks:
                    sink.image(key, _as_image(array), step)
        means = group.take()
        if not means:
            return
        group.store(means, step)
        for sink in self._sinks:
            sink.scalars(self.display_names(means, prefix), step)
        self.print_metrics(means, prefix)

    def display_names(self, means: dict[str, float], prefix: str) -> dict[str, float]:
        """The scalars under the names that TensorBoard or Weights & Biases shall show."""
        return means

    def print_metrics(self, means: dict[str, float], prefix: str) -> None:
        """Show the scalars (`prefix/metric`) on the console."""
        tqdm.write(self._groups[prefix].console_line(means, prefix))

    def close(self) -> None:
        """Finish all outputs; can be called twice."""
        while self._sinks:
            self._sinks.pop().close()

    def _group(self, prefix: str) -> MetersGroup:
        if prefix not in self._groups:
            if prefix not in _FORMATS:
                raise UserError(f"prefix={prefix!r} is unknown; known: {', '.join(_FORMATS)}")
            self._groups[prefix] = MetersGroup(
                self.log_dir / f"{prefix}.csv", _FORMATS[prefix], self._save_csv
            )
        return self._groups[prefix]

    def _log_video(self, key: str, value: Mapping[str, Any], step: int) -> None:
        frames = np.asarray(value["video"], dtype=np.uint8)
        for sink in self._sinks if len(frames) else ():
            sink.video(key, frames, value.get("fps", 20), step)


def coloured(text: str, colour: str) -> str:
    """`text` in an ANSI colour where standard output is a terminal and `NO_COLOR` is not set."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\033[{_ANSI_COLOURS[colour]}m{text}\033[0m"


def _make_sinks(log_dir: Path, cfg: DictConfig) -> list[Sink]:
    sinks: list[Sink] = []
    if OmegaConf.select(cfg, "wandb.use", default=False):  # first: it may refuse to start
        config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
        where = {key: OmegaConf.select(cfg, f"wandb.{key}") for key in _WANDB_KEYS}
        mode = OmegaConf.select(cfg, "wandb.mode", default=OFFLINE)
        sinks.append(WandbSink(log_dir, config, mode, **where))
    if OmegaConf.select(cfg, "tb.use", default=False):
        sinks.append(TensorBoardSink(_tensorboard_dir(log_dir, cfg)))
    return sinks


def _tensorboard_dir(log_dir: Path, cfg: DictConfig) -> Path:
    parent = OmegaConf.select(cfg, "tb.log_dir")
    if parent is None:
        return log_dir / "tb"
    name = OmegaConf.select(cfg, "tb.name")
    if name is not None:
        return Path(parent) / name
    try:
        return make_unique(Path(parent) / datetime.datetime.now().strftime("%m_%d_%Y_%H_%M_%S"))
    except OSError as error:
        raise UserError(
            f"tb.log_dir={parent} cannot be written ({error.strerror}); choose another one"
        ) from error


def _as_array(value: Any) -> np.ndarray | None:
    """Numbers, arrays and tensors as a numeric array; None for anything else."""
    if isinstance(value, torch.Tensor):
        value = value.detach().float().cpu().numpy()
    if not isinstance(value, bool | int | float | np.generic | np.ndarray):
        return None
    array = np.asarray(value)
    return array if array.dtype.kind in "biuf" else None


def _as_image(array: np.ndarray) -> np.ndarray:
    """`(H, W, C)` uint8 with 1 or 3 channels, from a batch or an image in either layout."""
    while array.ndim > 3:
        array = array[0]
    if array.ndim == 2:
        array = array[None]
    if array.shape[-1] not in (1, 3):
        array = np.moveaxis(array, 0, -1)
        array = array[..., :3] if array.shape[-1] >= 3 else array[..., :1]
    if array.dtype != np.uint8:
        array = np.clip(array, 0, 255).astype(np.uint8)
    return array


def _formatted(value: float, kind: str) -> str:
    if kind == "int":
        return f"{value:.0f}"
    if kind == "time":
        return str(datetime.timedelta(seconds=int(value)))
    return f"{value:.4g}"
