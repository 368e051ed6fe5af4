"""The networks between a camera and the policy: frames in, class ids and disparity out."""

import numpy as np

from so101_robobase.perception.depth import DepthInference
from so101_robobase.perception.segmentation.inference import SegmentationInference
from so101_robobase.sim.sight import SCENE, SIMULATED
from so101_robobase.sim.simulated_depth import SimulatedDepth
from so101_robobase.vision.observation import center_crop, resize_nearest


class Eyes:
    """What `segmentation` and `depth` see in camera frames.

    Args:
        segmentation: checkpoint of a segmentation network; None takes the simulator's class ids.
        depth: name or folder of a depth network; "scene" takes the simulator's disparity, and
            "simulated" worsens it as `sim.simulated_depth` does.
    """

    def __init__(self, segmentation: str | None, depth: str = SCENE, device: str = "cpu"):
        self._segmentation = SegmentationInference(segmentation, device) if segmentation else None
        self._depth = DepthInference(depth, device) if depth not in (SCENE, SIMULATED) else None
        self._worsen = SimulatedDepth() if depth == SIMULATED else None

    def see(
        self, frames: np.ndarray, ids: np.ndarray, disparity: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Class ids (N, h, w) uint8 and disparity (N, h, w) float32.

        Args:
            frames: (N, H, W, 3) uint8 BGR.
            ids, disparity: (N, h, w), the simulator's, of the frames' centre square.
        """
        size = ids.shape[-1]
        if self._segmentation is not None:
            ids = _square([self._segmentation.predict(frame) for frame in frames], size)
        if self._depth is not None:
            disparity = _square([self._depth.predict(frame) for frame in frames], size)
        elif self._worsen is not None:
            disparity = self._worsen.predict(disparity)
        return ids, disparity


def _square(pictures: list[np.ndarray], size: int) -> np.ndarray:
    return np.stack([resize_nearest(center_crop(picture), size) for picture in pictures])
