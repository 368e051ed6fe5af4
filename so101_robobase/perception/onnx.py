"""Networks in ONNX files, with the same `predict` as their originals; torch is not needed.

`onnx_export` writes the files. What must happen to a frame first is in the file's metadata.
"""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robobase.errors import UserError
from so101_robobase.observation import CLASSES
from so101_robobase.perception.extras import require
from so101_robobase.perception.frames import check_frame
from so101_robobase.perception.segmentation.preprocessing import ids_from_logits, prepare

METADATA = "so101_robobase"
"""Key of an ONNX file's metadata under which its settings are, as JSON."""


class OnnxNetwork:
    """An ONNX file that `so101_robobase perception export` wrote, run on the CPU.

    Args:
        path: the file.
        threads: CPU threads, 0: as many as onnxruntime thinks best.

    Attributes:
        settings: what the export wrote beside the network; `kind` in every file.
        input_size: (height, width) that the network itself gets, pixels.

    Raises UserError if the file is not there, is no network of ours, or is of another kind.
    """

    KIND: str

    def __init__(self, path: str | Path, threads: int = 0):
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path} is no file; `so101_robobase perception export` writes one")
        onnxruntime = require("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no other base class
            reason = str(error).splitlines()[0]
            raise UserError(f"{path} cannot be read as an ONNX file ({reason})") from error
        self.settings = self._settings(path)
        (network_input,) = self._session.get_inputs()
        self._input_name = network_input.name
        self.input_size: tuple[int, int] = tuple(network_input.shape[-2:])

    def run(self, pixel_values: np.ndarray) -> np.ndarray:
        """(1, 3, h, w) float32, normalised -> what the network alone gives."""
        (output,) = self._session.run(None, {self._input_name: pixel_values})
        return output

    def _settings(self, path: Path) -> dict[str, Any]:
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        if text is None:
            raise UserError(
                f"{path} does not say how to prepare a frame; export the network again with "
                "`so101_robobase perception export`"
            )
        settings = json.loads(text)
        if settings["kind"] != self.KIND:
            raise UserError(f"{path} holds a network for {settings['kind']}, not {self.KIND}")
        return settings


class OnnxSegmentation(OnnxNetwork):
    """`SegmentationInference` from an ONNX file."""

    KIND = "segmentation"

    def __init__(self, path: str | Path, threads: int = 0):
        super().__init__(path, threads)
        if self.settings["classes"] != list(CLASSES):
            raise UserError(
                f"{path} knows the classes {', '.join(self.settings['classes'])}, this version "
                f"{', '.join(CLASSES)}; export a network trained with these"
            )

    def predict(self, bgr: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 camera frame -> (H, W) uint8 ids of `ClassId`."""
        (logits,) = self.run(prepare(check_frame(bgr), self.input_size))
        return ids_from_logits(logits, bgr.shape[:2])


class OnnxDepth(OnnxNetwork):
    """`DepthInference` from an ONNX file."""

    KIND = "depth"

    def predict(self, bgr: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 camera frame -> (H, W) float32 disparity, larger is nearer."""
        (disparity,) = self.run(self.preprocess(bgr))
        height, width = bgr.shape[:2]
        return cv2.resize(disparity, (width, height), interpolation=cv2.INTER_CUBIC)

    def preprocess(self, bgr: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 camera frame -> (1, 3, h, w) float32, what the network itself gets."""
        # Pillow's filters are those of the processor; OpenCV's do not average when they shrink.
        image = require("PIL.Image")
        check_frame(bgr)
        height, width = self.settings["frame"]
        if bgr.shape[:2] != (height, width):  # would need another input than the graph has
            raise UserError(
                f"a frame has {bgr.shape[1]}x{bgr.shape[0]} pixels and the network was exported "
                f"for {width}x{height}; export it again with --frame_size"
            )
        rgb = image.fromarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        height, width = self.input_size
        resized = np.asarray(
            rgb.resize((width, height), image.Resampling(self.settings["resample"]))
        )
        mean, std = (np.array(self.settings[key], np.float32) * 255 for key in ("mean", "std"))
        normalised = (resized - mean) / std
        return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None])
