"""The life of a training: steps, validation after each epoch, the best network kept.

Everything that a step does follows from the seed, the settings and the step's number, so a run that
was interrupted goes on as if it had not been (bit by bit on one processor and thread count).
"""

import math
import shutil
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from robobase.compute import has_fast_bfloat16
from robobase.errors import UserError
from robobase.learner_state import check_alike, load_optimizer
from robobase.reading import reason
from robobase.signals import StopRequest, leave_to_parent
from so101_robobase.perception.folder import LabelledPictures
from so101_robobase.perception.segmentation import checkpoint, report
from so101_robobase.perception.segmentation.config import Optimisation, TrainingConfig
from so101_robobase.perception.segmentation.data import (
    Batches,
    CachedPictures,
    ResizedPictures,
    TrainingPictures,
    split,
)
from so101_robobase.perception.segmentation.evaluation import Evaluation, Pictures, evaluate
from so101_robobase.perception.segmentation.losses import LOSSES
from so101_robobase.perception.segmentation.model import SegmentationNetwork, upsample
from so101_robobase.vision.observation import CLASSES

_MOST_EPOCHS = 100_000  # in the history of a run that is continued
_TENSORBOARD_STEPS = 20  # between two points of the loss in TensorBoard


@dataclass
class Progress:
    """How far a run has come; what `last.pt` holds beside the weights."""

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0  # over the steps of the present epoch
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def from_state(cls, state: Any) -> "Progress":
        """What `vars` gave. Raises ValueError for anything else."""
        check_alike(state, vars(cls()), "the progress")
        progress = cls(**state)
        numbers = [progress.step, progress.seconds, progress.loss_sum]
        if len(progress.history) > _MOST_EPOCHS or min(progress.step, progress.seconds) < 0:
            raise ValueError("its progress cannot be")
        for row in progress.history:
            if not isinstance(row, dict) or not {"iou", "epoch", "step"} <= row.keys():
                raise ValueError("its history has rows without figures")
            numbers += row.values()
        if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
            raise ValueError("its progress holds what is no number")
        return progress

    @property
    def best(self) -> dict[str, float] | None:
        """The row of the epoch with the highest mean IoU at the policy's resolution."""
        return max(self.history, key=lambda row: row["iou"], default=None)

    @property
    def stale(self) -> int:
        """Validations since the best one."""
        return len(self.history) - 1 - self.history.index(self.best) if self.best else 0


@dataclass(frozen=True)
class TrainingData:
    """Which pictures there are, and which of them train and validate."""

    pictures: ResizedPictures
    training: np.ndarray
    validation: np.ndarray

    @classmethod
    def of(cls, config: TrainingConfig) -> "TrainingData":
        """Opens the folders that the settings name. Raises UserError as `LabelledPictures` does."""
        data = config.data
        folders = [LabelledPictures(path) for path in (*data.folders, *data.extra)]
        held_out = [LabelledPictures(path) for path in data.validation]
        lengths = [len(folder) for folder in folders]
        if held_out:
            training = [np.arange(length) for length in lengths]
            total = sum(lengths)
            validation = [np.arange(total, total + sum(len(folder) for folder in held_out))]
            starts_of_validation = [0]
        else:
            training, validation = split(lengths, data.validation_fraction, config.seed)
            starts_of_validation = np.cumsum([0, *lengths[:-1]]).tolist()
        starts = np.cumsum([0, *lengths[:-1]]).tolist()
        repeats = [1] * len(data.folders) + [data.extra_repeat] * len(data.extra)
        return cls(
            ResizedPictures([*folders, *held_out], config.model.spec.size),
            np.concatenate(
                [np.tile(i + s, r) for i, s, r in zip(training, starts, repeats, strict=True)]
            ),
            np.concatenate([i + s for i, s in zip(validation, starts_of_validation, strict=True)]),
        )


class Training:
    """One run in one folder.

    Args:
        config: its settings.
        network: on `device`; trained in place.
        data: its pictures.
        run_dir: where everything is written.
        device: where the network learns.
    """

    def __init__(
        self,
        config: TrainingConfig,
        network: SegmentationNetwork,
        data: TrainingData,
        run_dir: Path,
        device: torch.device,
    ):
        self.config = config
        self.network = network.to(device)
        self.data = data
        self.run_dir = run_dir
        self.device = device
        self.progress = Progress()
        self._cache = run_dir / "cache"
        self._pictures: Pictures = data.pictures
        self._loss = LOSSES[config.optimisation.loss]
        self._precision = _precision(config.precision, device)
        self._optimizer = _adamw(network, config.optimisation)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._precision == torch.float16)
        sampler = self._batches(0, 0)
        self.steps_per_epoch = sampler.per_epoch
        self.total_steps = max(1, round(config.optimisation.epochs * sampler.per_epoch))

    def resume(self) -> None:
        """Continue where `last.pt` of the run folder is. Raises UserError if it cannot be used."""
        path = self.run_dir / checkpoint.LAST
        content = checkpoint.read(path)
        state = content.get("training")
        if state is None:
            raise UserError(f"{path} holds no state of a training; give the folder of a run")
        if state.get("pictures") != len(self.data.training):
            raise UserError(
                f"{path} was trained on {state.get('pictures')!r:.50} pictures, now there are "
                f"{len(self.data.training)}; start a new run"
            )
        checkpoint.load_weights(self.network, content["weights"], path)
        try:
            check_alike(state["scaler"], self._scaler.state_dict(), "the scaler")
            self._scaler.load_state_dict(state["scaler"])
            load_optimizer(self._optimizer, state["optimizer"])
            self.progress = Progress.from_state(state["progress"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{path} holds no state of this training ({reason(error)}); start a new run"
            ) from error

    def run(self, stop: StopRequest) -> bool:
        """Trains to the end, or until `stop`; whether it came to the end.

        Raises UserError if the loss is no number any more.
        """
        if self.config.cache:
            self._pictures = CachedPictures.write(
                self._cache, self.data.pictures, self.config.num_workers
            )
        finished = self._finished()
        if not finished:
            finished = self._learn(stop)
        if finished:
            self._pictures = self.data.pictures
            shutil.rmtree(self._cache, ignore_errors=True)
        return finished

    def _learn(self, stop: StopRequest) -> bool:
        done, last_save = self.progress, time.monotonic()
        writer = SummaryWriter(str(self.run_dir / "tensorboard"), purge_step=done.step)
        batches = self._loader()
        bar = tqdm(batches, initial=done.step, total=self.total_steps, unit="step", desc="training")
        start = time.monotonic() - done.seconds
        try:
            for pictures, ids in bar:
                loss = self._step(pictures, ids)
                done.step += 1
                done.loss_sum += loss
                done.seconds = time.monotonic() - start
                if done.step % _TENSORBOARD_STEPS == 0:
                    writer.add_scalar("train/loss", loss, done.step)
                if done.step % self.steps_per_epoch == 0 or done.step == self.total_steps:
                    self._end_of_epoch(writer)
                    done.seconds = time.monotonic() - start
                    bar.set_postfix_str(f"IoU {done.history[-1]['iou']:.3f}")
                    self._save()
                    last_save = time.monotonic()
                elif time.monotonic() - last_save > 60 * self.config.optimisation.save_minutes:
                    self._save()
                    last_save = time.monotonic()
                if self._finished():
                    return True
                if stop:
                    self._save()
                    return False
        finally:
            bar.close()
            writer.close()
        return True

    def _step(self, pictures: Tensor, ids: Tensor) -> float:
        step = self.progress.step
        torch.manual_seed(self.config.seed * 1_000_003 + step)  # what dropout draws
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        pictures = pictures.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        ids = ids.to(self.device, torch.int64, non_blocking=True)
        with (
            torch.autocast(self.device.type, self._precision)
            if self._precision != torch.float32
            else nullcontext()
        ):
            logits = self.network(pictures.float())
        loss = self._loss(upsample(logits.float(), ids.shape[-2:]), ids)
        value = loss.item()
        if not math.isfinite(value):
            raise UserError(
                f"the loss is {value} at step {step}; continue from an earlier state with a lower "
                "optimisation.learning_rate, or precision=fp32"
            )
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), self.config.optimisation.clip_norm
        )
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return value

    def evaluate(self, pictures: Pictures | None = None) -> Evaluation:
        """On `pictures`, or on the validation pictures."""
        if pictures is None:
            return evaluate(self.network, self._pictures, self.data.validation, self.device)
        return evaluate(self.network, pictures, np.arange(len(pictures)), self.device)

    def _end_of_epoch(self, writer: SummaryWriter) -> None:
        done = self.progress
        steps = (done.step - 1) % self.steps_per_epoch + 1
        evaluation = self.evaluate()
        best = done.best
        row = {
            "epoch": done.step / self.steps_per_epoch,
            "step": done.step,
            "minutes": round(done.seconds / 60, 3),
            "learning_rate": self._learning_rate(done.step - 1),
            "loss": done.loss_sum / steps,
            **evaluation.metrics,
            **{
                f"iou/{name}": float(iou)
                for name, iou in zip(CLASSES, evaluation.policy.iou, strict=True)
            },
        }
        done.history.append(row)
        done.loss_sum = 0.0
        if best is None or row["iou"] > best["iou"]:
            checkpoint.save(self.run_dir / checkpoint.BEST, self.network, row)
        for name, value in row.items():
            if name not in ("epoch", "step"):
                writer.add_scalar(f"validation/{name}", value, done.step)
        report.write_history(self.run_dir, done.history)

    def _save(self) -> None:
        done = self.progress
        training: dict[str, Any] = {
            "pictures": len(self.data.training),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "progress": dict(vars(done)),
        }
        metrics = done.history[-1] if done.history else {}
        checkpoint.save(self.run_dir / checkpoint.LAST, self.network, metrics, training)

    def _finished(self) -> bool:
        patience = self.config.optimisation.patience
        return self.progress.step >= self.total_steps or 0 < patience <= self.progress.stale

    def _learning_rate(self, step: int) -> float:
        """Linear up to the peak, then half a cosine down to 0 (Loshchilov and Hutter 2017)."""
        optimisation = self.config.optimisation
        warmup = optimisation.warmup_share * self.total_steps
        if step < warmup:
            return optimisation.learning_rate * (step + 1) / (warmup + 1)
        share = (step - warmup) / max(1.0, self.total_steps - warmup)
        return optimisation.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    def _batches(self, first: int, last: int) -> Batches:
        batch_size = self.config.optimisation.batch_size
        return Batches(self.data.training, batch_size, self.config.seed, first, last)

    def _loader(self) -> DataLoader:
        config = self.config
        return DataLoader(
            TrainingPictures(self._pictures, config.augmentation, config.seed),
            batch_sampler=self._batches(self.progress.step, self.total_steps),
            num_workers=config.num_workers,
            worker_init_fn=_leave_signals_to_parent,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # or it would draw from the global one
        )


def _precision(wish: str, device: torch.device) -> torch.dtype:
    if wish == "auto" and device.type == "cuda":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float16
    if wish == "fp16" and device.type == "cpu":
        raise UserError("precision=fp16 learns on GPUs only; give fp32 or bf16")
    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(wish, torch.float32)


def _adamw(network: SegmentationNetwork, optimisation: Optimisation) -> torch.optim.AdamW:
    """Weight decay acts on what multiplies features, not on biases and the scales of norms."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": optimisation.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=optimisation.learning_rate)


def _leave_signals_to_parent(_: int) -> None:
    leave_to_parent()
