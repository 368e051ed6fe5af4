"""A trained network at work: camera frame in, class ids out."""

from pathlib import Path

import numpy as np
import torch

from robobase.compute import usable_device
from so101_robobase.perception.frames import check_frame
from so101_robobase.perception.segmentation import checkpoint
from so101_robobase.perception.segmentation.preprocessing import ids_from_logits, prepare


class SegmentationInference:
    """Class ids of camera frames, by the checkpoint of a training run.

    Args:
        checkpoint_path: a best.pt of `so101_robobase segmentation train`.
        device: cpu, cuda, cuda:1 ...

    Raises:
        UserError: the checkpoint cannot be used, or the device.
    """

    def __init__(self, checkpoint_path: Path | str, device: torch.device | str = "cpu"):
        self.device = usable_device(device)
        self.network = checkpoint.load_network(checkpoint_path, self.device)

    @torch.inference_mode()
    def predict(self, bgr: np.ndarray) -> np.ndarray:
        """Camera frame (H, W, 3) uint8 BGR of any size -> (H, W) uint8 ids of `ClassId`.

        Raises UserError if the frame is none.
        """
        check_frame(bgr)
        pictures = torch.from_numpy(prepare(bgr, self.network.spec.size)).to(self.device)
        logits = self.network(pictures.contiguous(memory_format=torch.channels_last))
        return ids_from_logits(logits[0].float().cpu().numpy(), bgr.shape[:2])
