"""Networks in ONNX files, with the same `predict` as their originals; torch is not needed.

`onnx_export` writes the files. What must happen to a frame first is in the file's metadata.
"""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robobase.errors import UserError
from robobase.reading import GIB, plain_json, read_bytes, reason
from so101_robobase.base.extras import require_perception
from so101_robobase.perception.frames import check_frame
from so101_robobase.perception.segmentation.preprocessing import ids_from_logits, prepare
from so101_robobase.vision.observation import CLASSES

METADATA = "so101_robobase"
"""Key of an ONNX file's metadata under which its settings are, as JSON."""


_MOST_BYTES = 2 * GIB  # what the format can hold
_FOLDER_OF_WEIGHTS = "session.model_external_initializers_file_folder_path"
_LARGEST = 8192  # pixels along an edge of what a network gets


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
        remedy = "`so101_robobase perception export` writes one"
        content = read_bytes(path, _MOST_BYTES, "network", remedy)
        onnxruntime = require_perception("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Weights in other files, which the network may name, are not read: not by the path of its
        # own, nor from the working directory, where onnxruntime would look instead.
        options.add_session_config_entry(_FOLDER_OF_WEIGHTS, os.devnull)
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no other base class
            raise UserError(
                f"{path} cannot be read as an ONNX file ({reason(error)}); {remedy}"
            ) from error
        self._path = path
        self.settings = self._settings(path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape if len(inputs) == len(outputs) == 1 else []
        if (
            len(shape) != 4
            or shape[:2] != [1, 3]
            or not all(isinstance(edge, int) and 1 <= edge <= _LARGEST for edge in shape[2:])
        ):
            raise UserError(f"{path} is no network for pictures of one size; {remedy}")
        self._input_name = inputs[0].name
        self.input_size: tuple[int, int] = (shape[2], shape[3])

    def run(self, pixel_values: np.ndarray) -> np.ndarray:
        """(1, 3, h, w) float32, normalised -> what the network alone gives."""
        try:
            (output,) = self._session.run(None, {self._input_name: pixel_values})
        except Exception as error:  # as above
            raise UserError(f"{self._path} does not work as it says ({reason(error)})") from error
        return output

    def _settings(self, path: Path) -> dict[str, Any]:
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        if text is None:
            raise UserError(
                f"{path} does not say how to prepare a frame; export the network again with "
                "`so101_robobase perception export`"
            )
        try:
            settings = plain_json(text)
        except ValueError as error:
            raise UserError(f"{path} has damaged settings ({reason(error)})") from error
        kind = settings.get("kind") if isinstance(settings, dict) else None
        if kind != self.KIND:
            raise UserError(f"{path} holds a network for {kind}, not {self.KIND}")
        return settings


class OnnxSegmentation(OnnxNetwork):
    """`SegmentationInference` from an ONNX file."""

    KIND = "segmentation"

    def __init__(self, path: str | Path, threads: int = 0):
        super().__init__(path, threads)
        classes = self.settings.get("classes")
        if classes != list(CLASSES):
            raise UserError(
                f"{path} knows the classes {classes}, this version {list(CLASSES)}; export a "
                "network trained with these"
            )

    def predict(self, bgr: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 camera frame -> (H, W) uint8 ids of `ClassId`."""
        (logits,) = _checked(
            self._path, self.run(prepare(check_frame(bgr), self.input_size)), (1, len(CLASSES))
        )
        return ids_from_logits(logits, bgr.shape[:2])


class OnnxDepth(OnnxNetwork):
    """`DepthInference` from an ONNX file."""

    KIND = "depth"

    def __init__(self, path: str | Path, threads: int = 0):
        super().__init__(path, threads)
        frame, self.resample = self.settings.get("frame"), self.settings.get("resample")
        is_pair = isinstance(frame, list) and [type(edge) for edge in frame] == [int, int]
        if not is_pair or self.resample not in range(6):
            raise UserError(f"{path} has no usable frame or resample in its settings")
        self.frame: list[int] = frame or []
        self.mean, self.std = (self._three(path, key) for key in ("mean", "std"))
        if not (self.std > 0).all():
            raise UserError(f"{path} has a std of {self.std} in its settings")

    def _three(self, path: str | Path, key: str) -> np.ndarray:
        """A setting of three numbers, of red, green and blue."""
        try:
            values = np.array(self.settings.get(key), np.float32)
        except (TypeError, ValueError, OverflowError):
            values = np.empty(0, np.float32)
        if values.shape != (3,) or not (np.abs(values) < 1000).all():
            raise UserError(f"{path} has no usable {key} in its settings")
        return values

    def predict(self, bgr: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 camera frame -> (H, W) float32 disparity, larger is nearer."""
        (disparity,) = _checked(self._path, self.run(self.preprocess(bgr)), (1,))
        height, width = bgr.shape[:2]
        return cv2.resize(disparity, (width, height), interpolation=cv2.INTER_CUBIC)

    def preprocess(self, bgr: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 camera frame -> (1, 3, h, w) float32, what the network itself gets."""
        # Pillow's filters are those of the processor; OpenCV's do not average when they shrink.
        image = require_perception("PIL.Image")
        check_frame(bgr)
        height, width = self.frame
        if bgr.shape[:2] != (height, width):  # would need another input than the graph has
            raise UserError(
                f"a frame has {bgr.shape[1]}x{bgr.shape[0]} pixels and the network was exported "
                f"for {width}x{height}; export it again with --frame_size"
            )
        rgb = image.fromarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        height, width = self.input_size
        resized = np.asarray(rgb.resize((width, height), image.Resampling(self.resample)))
        normalised = (resized - 255 * self.mean) / (255 * self.std)
        return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None])


def _checked(path: Path, output: np.ndarray, begin: tuple[int, ...]) -> np.ndarray:
    """`output` (*begin, h, w) of finite numbers. Raises UserError for any other."""
    fits = output.ndim == len(begin) + 2 and output.shape[: len(begin)] == begin
    if not fits or output.size == 0 or output.dtype.kind != "f" or not np.isfinite(output).all():
        raise UserError(f"{path} gives {output.dtype} of shape {output.shape}, not what it should")
    return output
