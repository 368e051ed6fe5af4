"""How long networks take from a camera frame to their prediction."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from so101_robobase.perception.depth import DepthInference, save_untrained
from so101_robobase.perception.onnx import OnnxDepth, OnnxSegmentation
from so101_robobase.perception.onnx_export import export_depth, export_segmentation, parity_frames
from so101_robobase.perception.segmentation.inference import SegmentationInference
from so101_robobase.vision.observation import seg_depth

RUNTIMES = ("torch", "onnx")

UNTRAINED = "untrained"
"""In place of a folder: Depth Anything V2 Small with random weights, which is as fast."""

_WARM_UP = 2
_LEAST_FRAMES = 5

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Network:
    """Something to be timed.

    Attributes:
        name: for the table.
        input_size: for the table: what the network itself sees.
        predict: BGR frame -> prediction, by torch.
        onnx: the same by onnxruntime with so many CPU threads; None where it was not exported.
    """

    name: str
    input_size: str
    predict: Predict
    onnx: Callable[[int], Predict] | None

    def open(self, runtime: str, threads: int) -> Predict:
        """What is to be timed, with `threads` CPU threads for everything in it."""
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        if runtime == "torch":
            return self.predict
        assert self.onnx is not None
        return self.onnx(threads)


@dataclass(frozen=True)
class Latency:
    """Milliseconds per frame, from BGR frame to prediction at the frame's size."""

    network: str
    input_size: str
    runtime: str
    threads: int
    median: float
    p95: float
    frames: int

    @property
    def fps(self) -> float:
        """Frames per second at the median."""
        return 1000 / self.median


def load_networks(
    folder: Path,
    segmentation: str | Path | None,
    depth: str | Path | None,
    input_sizes: Sequence[int | None],
    frame_size: tuple[int, int],
    device: str,
    with_onnx: bool,
) -> list[Network]:
    """The networks that were asked for; with both, also both together, as a robot needs them.

    Args:
        folder: for exported files; they must stay while the networks are in use.
        segmentation: a checkpoint.
        depth: a folder, a name on Hugging Face, or `UNTRAINED`.
        input_sizes: shorter edges that the depth network sees, None: the processor's.
        frame_size: (height, width) of the camera's frames.
    """
    ids, disparities = [], []
    if segmentation is not None:
        ids.append(_segmentation(folder, segmentation, device, with_onnx))
    if depth is not None:
        model = save_untrained(folder / UNTRAINED) if depth == UNTRAINED else depth
        for input_size in input_sizes:
            disparities.append(_depth(folder, model, input_size, frame_size, device, with_onnx))
    return [*ids, *disparities, *(_together(a, b) for a in ids for b in disparities)]


def latencies(
    networks: Sequence[Network],
    runtimes: Sequence[str],
    threads: Sequence[int],
    frame_size: tuple[int, int],
    seconds: float,
) -> Iterator[Latency]:
    """One row per network, runtime and number of CPU threads, about `seconds` each."""
    frame = parity_frames(*frame_size)[-1]
    with _threads_restored():
        for network in networks:
            for runtime in runtimes:
                for count in threads:
                    times = _milliseconds(network.open(runtime, count), frame, seconds)
                    yield Latency(
                        network.name,
                        network.input_size,
                        runtime,
                        count,
                        statistics.median(times),
                        float(np.percentile(times, 95)),
                        len(times),
                    )


def _segmentation(folder: Path, path: str | Path, device: str, with_onnx: bool) -> Network:
    inference = SegmentationInference(path, device)
    file = folder / "segmentation.onnx"
    if with_onnx:
        export_segmentation(inference, file)
    height, width = inference.network.spec.size
    return Network(
        "segmentation",
        f"{width}x{height}",
        inference.predict,
        (lambda threads: OnnxSegmentation(file, threads).predict) if with_onnx else None,
    )


def _depth(
    folder: Path,
    name: str | Path,
    input_size: int | None,
    frame_size: tuple[int, int],
    device: str,
    with_onnx: bool,
) -> Network:
    inference = DepthInference(name, device, input_size)
    file = folder / f"depth_{input_size}.onnx"
    if with_onnx:
        export_depth(inference, file, frame_size)
    height, width = inference.preprocess(np.zeros((*frame_size, 3), np.uint8)).shape[-2:]
    return Network(
        "depth",
        f"{width}x{height}",
        inference.predict,
        (lambda threads: OnnxDepth(file, threads).predict) if with_onnx else None,
    )


def _together(ids: Network, disparity: Network) -> Network:
    """From a frame to the policy's (2, 84, 84)."""

    def both(predict_ids: Predict, predict_disparity: Predict) -> Predict:
        return lambda frame: seg_depth(predict_ids(frame), predict_disparity(frame))

    def onnx(threads: int) -> Predict:
        return both(ids.open("onnx", threads), disparity.open("onnx", threads))

    return Network(
        "both, to (2, 84, 84)",
        f"{ids.input_size}, {disparity.input_size}",
        both(ids.predict, disparity.predict),
        onnx if ids.onnx and disparity.onnx else None,
    )


def _milliseconds(predict: Predict, frame: np.ndarray, seconds: float) -> list[float]:
    for _ in range(_WARM_UP):
        predict(frame)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < _LEAST_FRAMES or time.perf_counter() < end:
        start = time.perf_counter()
        predict(frame)
        times.append(1000 * (time.perf_counter() - start))
    return times


@contextmanager
def _threads_restored() -> Iterator[None]:
    torch_threads, opencv_threads = torch.get_num_threads(), cv2.getNumThreads()
    try:
        yield
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(opencv_threads)
