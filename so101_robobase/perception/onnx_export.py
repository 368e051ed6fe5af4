"""Writing a network as ONNX, and checking that the file computes what the network computes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from robobase.errors import UserError
from so101_robobase.base.extras import require_perception
from so101_robobase.base.files import written_whole
from so101_robobase.perception.depth import DepthInference
from so101_robobase.perception.onnx import METADATA, OnnxDepth, OnnxNetwork, OnnxSegmentation
from so101_robobase.perception.quiet import quiet
from so101_robobase.perception.segmentation.inference import SegmentationInference
from so101_robobase.perception.segmentation.preprocessing import prepare
from so101_robobase.vision.observation import CLASSES

OPSET = 18
"""The first whose `Resize` is told apart from torch's by nothing but rounding."""

MAX_DIFFERENCE = 1e-3
"""Of a network's outputs, as a share of their span. Sums in another order change about 1e-5."""

MAX_DEPTH_ERROR = 0.01
"""Of disparity: resizing a frame may round a colour the other way."""

MAX_ID_ERROR = 0.001
"""Of class ids: rounding decides between classes that are level."""


@dataclass(frozen=True)
class Parity:
    """How far an ONNX file is from the network that it was made of; the worst of some frames.

    Attributes:
        difference: greatest difference of the two networks' outputs for the same input, as a share
            of what the output spans.
        error: of the whole way from frame to prediction. Disparity: mean difference, as a share of
            what the frame spans; class ids: share of the pixels that differ.
    """

    difference: float
    error: float


def export_depth(depth: DepthInference, path: Path, frame: tuple[int, int] = (480, 640)) -> Parity:
    """Write `depth` as ONNX for frames of (height, width) pixels, and check the file.

    Raises UserError, and leaves no file, if the file does not compute the same.
    """
    settings = {
        "frame": frame,
        "mean": depth.mean,
        "std": depth.std,
        "resample": depth.resample,
    }
    network = _Disparity(depth.model)
    frames = parity_frames(*frame)
    with written_whole(path, own=True) as temporary:
        _write(network, depth.preprocess(frames[0]), temporary, OnnxDepth.KIND, settings)
        exported = OnnxDepth(temporary)
        return _checked(
            path,
            Parity(
                _output_difference(network, exported, map(depth.preprocess, frames)),
                max(_mean_difference(exported.predict(f), depth.predict(f)) for f in frames),
            ),
            MAX_DEPTH_ERROR,
        )


def export_segmentation(segmentation: SegmentationInference, path: Path) -> Parity:
    """Write `segmentation` as ONNX for frames of any size, and check the file.

    Raises UserError, and leaves no file, if the file does not compute the same.
    """
    network, device = segmentation.network, segmentation.device
    frames = parity_frames()
    inputs = [torch.from_numpy(prepare(f, network.spec.size)).to(device) for f in frames]
    with written_whole(path, own=True) as temporary:
        _write(network, inputs[0], temporary, OnnxSegmentation.KIND, {"classes": CLASSES})
        exported = OnnxSegmentation(temporary)
        return _checked(
            path,
            Parity(
                _output_difference(network, exported, inputs),
                max(float(np.mean(exported.predict(f) != segmentation.predict(f))) for f in frames),
            ),
            MAX_ID_ERROR,
        )


def parity_frames(height: int = 480, width: int = 640) -> Sequence[np.ndarray]:
    """BGR pictures with blotches of all sizes, and plain noise: (H, W, 3) uint8 each."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    frames = [noise]
    for cells in (3, 12, 48):
        coarse = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        frames.append(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))
    return frames


class _Disparity(torch.nn.Module):
    """Depth Anything with a tensor as its output, where transformers gives a record."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self._model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self._model(pixel_values=pixel_values).predicted_depth


def _checked(path: Path, parity: Parity, max_error: float) -> Parity:
    if parity.difference <= MAX_DIFFERENCE and parity.error <= max_error:  # not so with a nan
        return parity
    raise UserError(
        f"{path} was not written: onnxruntime computes something else (outputs differ by "
        f"{parity.difference:.2g} of their span, predictions by {parity.error:.2g}); try other "
        "versions of torch, onnxscript and onnxruntime"
    )


def _write(
    network: torch.nn.Module,
    pixel_values: torch.Tensor,
    path: Path,
    kind: str,
    settings: Mapping[str, Any],
) -> None:
    """The network for inputs of this one shape; kind and settings in the metadata."""
    onnx = require_perception("onnx")
    require_perception("onnxscript")
    with quiet("torch.onnx"):  # remarks on operators that these networks do not use
        program = torch.onnx.export(
            network.eval(),
            (pixel_values,),
            input_names=["pixel_values"],
            output_names=["output"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # as always with dynamo
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # stack traces with the paths of this machine
    onnx.helper.set_model_props(model, {METADATA: json.dumps({"kind": kind, **settings})})
    onnx.save(model, path)


def _output_difference(
    network: torch.nn.Module, exported: OnnxNetwork, inputs: Iterable[torch.Tensor]
) -> float:
    """Greatest difference of the outputs for the same inputs, as a share of their span."""
    differences = []
    for pixel_values in inputs:
        with torch.inference_mode():
            output = network(pixel_values).float().cpu().numpy()
        difference = np.abs(exported.run(pixel_values.cpu().numpy()) - output).max()
        differences.append(float(difference / _span(output)))
    return max(differences)


def _mean_difference(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(np.abs(predicted - true).mean() / _span(true))


def _span(values: np.ndarray) -> float:
    """From least to greatest; 1 where all are equal."""
    return float(np.ptp(values)) or 1.0
