"""A trained network at work: camera frame in, class ids out."""

from pathlib import Path

import numpy as np
import torch

from robobase.errors import UserError
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


def usable_device(name: torch.device | str) -> torch.device:
    """The device of that name; "auto" is the first GPU or else the processor.

    Raises UserError if there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"device '{name}' cannot be used ({reason}); give cpu or auto") from error
    return device
