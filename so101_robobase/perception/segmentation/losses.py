"""What training minimises. Pixels whose label is `IGNORED` count nowhere."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = 255
"""Label of pixels whose class nobody knows: outside the frame after augmentation, cut out."""

Loss = Callable[[Tensor, Tensor], Tensor]


def soft_iou(logits: Tensor, ids: Tensor) -> Tensor:
    """1 - intersection over union with probabilities in place of decisions.

    Rahman and Wang 2016, "Optimizing intersection-over-union in deep neural networks". Summed over
    the whole batch, then averaged over the classes that the batch holds, so that a cube of thirty
    pixels weighs as much as the table.

    Args:
        logits: (N, C, H, W) float.
        ids: (N, H, W) int64 class ids or `IGNORED`.
    """
    known = ids != IGNORED
    probability = logits.float().softmax(1) * known[:, None]
    classes = torch.arange(logits.shape[1], device=ids.device).view(1, -1, 1, 1)
    truth = (ids[:, None] == classes).float()  # `IGNORED` is none of them
    intersection = (probability * truth).sum((0, 2, 3))
    truth_sum = truth.sum((0, 2, 3))
    union = probability.sum((0, 2, 3)) + truth_sum - intersection
    present = truth_sum > 0
    iou = intersection / union.clamp(min=1e-6)
    return 1 - (iou * present).sum() / present.sum().clamp(min=1)


def cross_entropy(logits: Tensor, ids: Tensor) -> Tensor:
    """Mean negative log-likelihood of the known pixels; 0 if none is known."""
    total = functional.cross_entropy(logits.float(), ids, ignore_index=IGNORED, reduction="sum")
    return total / (ids != IGNORED).sum().clamp(min=1)


def soft_iou_and_cross_entropy(logits: Tensor, ids: Tensor) -> Tensor:
    """The sum: cross-entropy's gradients early on, the measure itself later."""
    return soft_iou(logits, ids) + cross_entropy(logits, ids)


LOSSES: dict[str, Loss] = {
    "soft_iou": soft_iou,
    "cross_entropy": cross_entropy,
    "soft_iou+cross_entropy": soft_iou_and_cross_entropy,
}
