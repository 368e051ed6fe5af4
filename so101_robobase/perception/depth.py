"""Disparity of a camera frame by Depth Anything V2, through `transformers`.

Nothing here scales the result to 0..255: `observation.seg_depth` does that for every source.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from robobase.compute import usable_device
from robobase.errors import UserError, first_line
from so101_robobase.base.extras import require_perception
from so101_robobase.perception import depth_folder
from so101_robobase.perception.depth_folder import FILES
from so101_robobase.perception.frames import check_frame

DEPTH_ANYTHING = "depth-anything/Depth-Anything-V2-Small-hf"
"""The network of the original project: 24.8 M parameters, Apache-2.0."""


class DepthInference:
    """Depth Anything with the pre- and postprocessing of its own processor.

    Args:
        name_or_folder: a folder with `FILES`, or the name of a model on the Hugging Face hub. What
            was once downloaded is used without asking the hub again.
        device: cpu, cuda, cuda:1 ...
        input_size: pixels that the processor scales a frame's shorter edge to (the longer one's,
            if that changes the frame less); None: its own choice, 518. Cost grows with its square.

    Attributes:
        model: the network, in evaluation mode on `device`.
        mean, std: what colours of 0..1 are normalised with, RGB.
        resample: Pillow's number of the filter that resizes a frame.

    Raises UserError if the model is not there, cannot be read or predicts no disparity.
    """

    def __init__(
        self,
        name_or_folder: str | Path = DEPTH_ANYTHING,
        device: str | torch.device = "cpu",
        input_size: int | None = None,
    ):
        folder = find_model(name_or_folder)
        self.device = usable_device(device)
        with _silent(require_perception("transformers").utils.logging):
            self.model, self._processor = depth_folder.load(folder)
        self.model.to(self.device)
        self.mean = tuple(self._processor.image_mean)
        self.std = tuple(self._processor.image_std)
        self.resample = int(self._processor.resample)
        self._options: dict[str, Any] = {
            "input_data_format": "channels_last",
            "return_tensors": "pt",
        }
        if input_size is not None:
            patch = self.model.config.patch_size
            if input_size < patch:
                raise UserError(f"input_size={input_size} is less than a patch: at least {patch}")
            self._options["size"] = {"height": input_size, "width": input_size}

    def predict(self, bgr: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 camera frame -> (H, W) float32 disparity, larger is nearer.

        Unit and offset are the network's and differ from frame to frame.
        """
        with torch.inference_mode():
            outputs = self.model(pixel_values=self.preprocess(bgr))
        (result,) = self._processor.post_process_depth_estimation(outputs, [bgr.shape[:2]])
        return result["predicted_depth"].float().cpu().numpy()

    def preprocess(self, bgr: np.ndarray) -> torch.Tensor:
        """(H, W, 3) uint8 camera frame -> (1, 3, h, w) float32, what the network itself gets."""
        rgb = cv2.cvtColor(check_frame(bgr), cv2.COLOR_BGR2RGB)
        return self._processor(rgb, **self._options)["pixel_values"].to(self.device)


def find_model(name_or_folder: str | Path) -> Path:
    """The folder of a model: as given, from the hub's cache, or downloaded now."""
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        missing = _missing(folder)
        if missing:
            raise UserError(f"{folder} lacks {', '.join(missing)}; it must hold {', '.join(FILES)}")
        return folder
    hub = require_perception("huggingface_hub")
    name = str(name_or_folder)
    try:
        cached = Path(hub.snapshot_download(name, allow_patterns=FILES, local_files_only=True))
        if not _missing(cached):
            return cached
    except hub.errors.HFValidationError as error:
        raise UserError(f"'{name}' is neither a folder nor the name of a model") from error
    except hub.errors.LocalEntryNotFoundError:
        pass  # not downloaded yet
    try:
        folder = Path(hub.snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # its client raises other classes from version to version
        raise UserError(
            f"'{name}' is no folder and cannot be fetched ({_hub_reason(hub, error)}); where there "
            f"is a network: `hf download {name} {' '.join(FILES)} --local-dir FOLDER`, then give "
            "FOLDER"
        ) from error
    if _missing(folder):
        raise UserError(f"{name} on the hub lacks {', '.join(_missing(folder))}")
    return folder


def _hub_reason(hub: Any, error: Exception) -> str:
    offline = isinstance(error, hub.errors.LocalEntryNotFoundError)
    return "the Hugging Face hub cannot be reached" if offline else first_line(error)


def save_untrained(folder: Path) -> Path:
    """Write Depth Anything V2 Small with random weights to `folder`, and return that.

    It sees nothing, but takes as long as the trained one. Shapes and preprocessing are those of
    `DEPTH_ANYTHING`'s own config.json and preprocessor_config.json.
    """
    transformers = require_perception("transformers")
    backbone = transformers.Dinov2Config(
        image_size=518,
        patch_size=14,
        hidden_size=384,
        num_attention_heads=6,
        out_indices=[3, 6, 9, 12],
        reshape_hidden_states=False,
    )
    config = transformers.DepthAnythingConfig(backbone_config=backbone)
    processor = transformers.DPTImageProcessor(
        size={"height": 518, "width": 518},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    with _silent(transformers.utils.logging):
        transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder


def _missing(folder: Path) -> list[str]:
    return [file for file in FILES if not (folder / file).is_file()]


@contextmanager
def _silent(logging: Any) -> Iterator[None]:
    """Without transformers' remarks and progress bars: what matters of them is raised."""
    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
