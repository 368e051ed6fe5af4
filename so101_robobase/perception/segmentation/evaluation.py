"""How well a network masks labelled pictures: at its own resolution and at the policy's."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from robobase.utils import eval_mode
from so101_robobase.perception.segmentation.data import CachedPictures, ResizedPictures, Sample
from so101_robobase.perception.segmentation.metrics import Confusion
from so101_robobase.perception.segmentation.model import SegmentationNetwork, upsample
from so101_robobase.vision.observation import IMAGE_SIZE, center_crop, resize_nearest

Pictures = CachedPictures | ResizedPictures


@dataclass(frozen=True)
class Evaluation:
    """Masks against labels over many pictures.

    Attributes:
        frame: of whole frames in the network's size.
        policy: of what the policy sees, the centre at 84x84.
        policy_iou: (n,) mean IoU of each picture alone, as the policy sees it.
    """

    frame: Confusion
    policy: Confusion
    policy_iou: np.ndarray

    @property
    def metrics(self) -> dict[str, float]:
        """The figures that curves and checkpoints carry."""
        return {
            "iou": self.policy.mean_iou,
            "frame_iou": self.frame.mean_iou,
            "accuracy": self.policy.accuracy,
        }


def evaluate(
    network: SegmentationNetwork,
    pictures: Pictures,
    indices: np.ndarray,
    device: torch.device,
    batch_size: int = 32,
) -> Evaluation:
    """Masks of the pictures `indices` against their labels, in float32."""
    frame, policy, each = Confusion(), Confusion(), []
    for samples in _batches(pictures, indices, batch_size):
        logits = predict_logits(network, samples, device)
        size = samples[0].ids.shape
        frame.add(_stack(samples, "ids"), upsample(logits, size).argmax(1).cpu().numpy())
        seen = policy_logits(logits, _stack(samples, "frame_size")).argmax(1).cpu().numpy()
        for sample, ids in zip(samples, seen, strict=True):
            alone = Confusion().add(sample.policy_ids, ids)
            policy.matrix += alone.matrix
            each.append(alone.mean_iou)
    return Evaluation(frame, policy, np.array(each))


@torch.inference_mode()
def predict_logits(
    network: SegmentationNetwork, samples: list[Sample], device: torch.device
) -> Tensor:
    """(n, C, h', w') float32 of the samples' pictures."""
    pictures = torch.from_numpy(_stack(samples, "picture")).to(device)
    pictures = pictures.permute(0, 3, 1, 2)  # and so channels last in memory
    with eval_mode(network):
        return network(pictures.float()).float()


def policy_logits(logits: Tensor, frame_sizes: np.ndarray) -> Tensor:
    """(n, C, h', w') -> (n, C, 84, 84): interpolated where the policy's pixels are.

    The same as interpolating to the frame's size and then taking `observation.seg` of it, for an
    eleventh of the work.

    Args:
        logits: of whole frames.
        frame_sizes: (n, 2) height and width of the frames.
    """
    grids = {size: _policy_grid(*size) for size in {tuple(s) for s in frame_sizes.tolist()}}
    grid = torch.from_numpy(np.stack([grids[tuple(s)] for s in frame_sizes.tolist()]))
    return functional.grid_sample(
        logits, grid.to(logits.device), padding_mode="border", align_corners=False
    )


def _policy_grid(height: int, width: int) -> np.ndarray:
    """(84, 84, 2) float32: x and y of the policy's pixels in the frame, -1 and 1 at its edges."""
    rows, columns = (
        resize_nearest(center_crop(index), IMAGE_SIZE) for index in np.indices((height, width))
    )
    x, y = (2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1
    return np.stack([x, y], axis=-1).astype(np.float32)


def _batches(pictures: Pictures, indices: np.ndarray, batch_size: int) -> Iterator[list[Sample]]:
    for start in range(0, len(indices), batch_size):
        yield [pictures[int(index)] for index in indices[start : start + batch_size]]


def _stack(samples: list[Sample], name: str) -> np.ndarray:
    return np.stack([getattr(sample, name) for sample in samples])
