"""A training or an evaluation on paper: tables, curves, confusion matrix, overlays."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from so101_robobase.base.files import written_whole
from so101_robobase.evaluation.report import table
from so101_robobase.perception.segmentation.evaluation import (
    Evaluation,
    Pictures,
    evaluate,
    predict_logits,
)
from so101_robobase.perception.segmentation.metrics import Confusion
from so101_robobase.perception.segmentation.model import SegmentationNetwork, upsample
from so101_robobase.vision import pictures as drawing
from so101_robobase.vision.observation import CLASSES, colorize_ids
from so101_robobase.vision.picture_files import write_png

Row = Mapping[str, float]

_OVERLAYS = 8  # pictures shown of the whole, and as many of the worst
_ERROR_COLOUR = (255, 0, 255)


def iou_table(evaluation: Evaluation) -> str:
    """Per class: IoU at the policy's resolution and at the network's, share of the pixels."""
    share = evaluation.policy.matrix.sum(1) / max(1, evaluation.policy.matrix.sum())
    rows = [
        [name, _percent(policy), _percent(frame), f"{part:.2%}"]
        for name, policy, frame, part in zip(
            CLASSES, evaluation.policy.iou, evaluation.frame.iou, share, strict=True
        )
    ]
    mean = [_percent(evaluation.policy.mean_iou), _percent(evaluation.frame.mean_iou), "100.00%"]
    header = ("class", "IoU at 84x84", "IoU of frames", "pixels at 84x84")
    return table([*rows, ["mean", *mean]], header)


def measure(
    folder: Path,
    network: SegmentationNetwork,
    pictures: Pictures,
    indices: np.ndarray,
    device: torch.device,
) -> Evaluation:
    """Evaluates on the pictures `indices` and writes what came out into `folder`.

    That is iou.csv, confusion.csv, confusion.png, overlays.png and worst.png.
    """
    evaluation = evaluate(network, pictures, indices, device)
    rows = zip(CLASSES, evaluation.policy.iou, evaluation.frame.iou, strict=True)
    means = (evaluation.policy.mean_iou, evaluation.frame.mean_iou)
    _write_csv(folder / "iou.csv", ["class", "policy_iou", "frame_iou"], [*rows, ("mean", *means)])
    matrix = evaluation.policy.matrix
    named = [[name, *map(int, matrix[k])] for k, name in enumerate(CLASSES)]
    _write_csv(folder / "confusion.csv", ["truth", *CLASSES], named)
    _write_confusion(folder / "confusion.png", evaluation.policy)
    evenly = np.linspace(0, len(indices) - 1, min(_OVERLAYS, len(indices))).astype(int)
    worst = np.argsort(evaluation.policy_iou)[:_OVERLAYS]
    for name, chosen in (("overlays", evenly), ("worst", worst)):
        sheet = overlays(network, pictures, indices[chosen], device)
        write_png(folder / f"{name}.png", sheet[..., ::-1])
    return evaluation


def overlays(
    network: SegmentationNetwork, pictures: Pictures, indices: np.ndarray, device: torch.device
) -> np.ndarray:
    """(H, W, 3) RGB: a row per picture of it, the labels, the prediction and where they differ."""
    samples = [pictures[int(index)] for index in indices]
    logits = upsample(predict_logits(network, samples, device), samples[0].ids.shape)
    rows = []
    for index, sample, predicted in zip(indices, samples, logits.argmax(1).cpu(), strict=True):
        picture, ids = np.ascontiguousarray(sample.picture[..., ::-1]), predicted.numpy()
        wrong = picture // 2
        wrong[ids != sample.ids] = _ERROR_COLOUR
        tiles = {
            f"picture {index}": picture,
            "labels": colorize_ids(sample.ids),
            "predicted": colorize_ids(ids),
            "wrong": wrong,
        }
        rows.append(np.hstack([drawing.caption(tile, name) for name, tile in tiles.items()]))
    return np.vstack(rows)


def blend(bgr: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The frame (H, W, 3) BGR under the colours of its classes (H, W)."""
    return cv2.addWeighted(bgr, 0.5, colorize_ids(ids)[..., ::-1], 0.5, 0)


def write_history(folder: Path, history: Sequence[Row]) -> None:
    """Writes the rows of all epochs as history.csv and curves.png."""
    header = list(history[-1])
    _write_csv(folder / "history.csv", header, [[row[name] for name in header] for row in history])
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(13, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)  # without pyplot: no global state, no display
    panels: dict[str, tuple[str, ...]] = {
        "loss of training": ("loss",),
        "mean IoU of validation": ("iou", "frame_iou"),
        "IoU by class at 84x84": tuple(f"iou/{name}" for name in CLASSES),
    }
    for axes, (title, names) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for name in names:
            axes.plot(epochs, [row[name] for row in history], "o-", markersize=3, label=name)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("epoch")
        axes.grid(color="#dddddd", linewidth=0.6)
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=8)
    with written_whole(folder / "curves.png") as path:
        figure.savefig(path, format="png")


def _write_confusion(path: Path, confusion: Confusion) -> None:
    total = confusion.matrix.sum(1, keepdims=True)
    share = confusion.matrix / np.maximum(total, 1)
    figure = Figure(figsize=(6.4, 5.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*share.shape):
        colour = "white" if share[row, column] > 0.5 else "black"
        text = f"{share[row, column]:.1%}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    names = [name.replace("_", " ") for name in CLASSES]
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("share of each true class at 84x84", fontsize=10, loc="left")
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png")


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with written_whole(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.1%}"
