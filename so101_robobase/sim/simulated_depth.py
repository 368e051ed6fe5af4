"""A stand-in for the depth network in simulation studies: true disparity, made worse.

It is not Depth Anything and says nothing about how well that works on an arm. It keeps what is
known of such networks: disparity of unknown scale and offset (Ranftl et al. 2020, "Towards Robust
Monocular Depth Estimation"), right in the large and wrong in the small. Results made with it must
say so.
"""

from dataclasses import dataclass, fields
from functools import lru_cache

import cv2
import numpy as np

from robobase.errors import UserError

_CELLS = 4  # per axis of the random field that bends surfaces: wrong over a quarter of the picture

Range = tuple[float, float]


@dataclass(frozen=True)
class SimulatedDepthConfig:
    """How far the stand-in is from the truth; ranges are drawn from uniformly.

    Lengths are shares of the picture's shorter edge, disparities shares of what the frame spans
    from farthest to nearest. An episode has one scale, shift, gamma, smoothing, edge bleed and
    bending; noise is new in every frame. The values are guesses at a good monocular network's
    mistakes, not measurements.

    Attributes:
        scale: factor of the disparity.
        shift: added to the disparity.
        gamma: exponent of the disparity within the frame's span: which distances look stretched.
        smoothing: standard deviation of the Gaussian that rounds what is sharp.
        edge_bleed: how far near things spread over what is behind them.
        bending: standard deviation of a smooth field added to all of an episode's frames.
        noise: standard deviation of a smooth field added to one frame.
    """

    scale: Range = (0.5, 2.0)
    shift: Range = (-0.5, 0.5)
    gamma: Range = (0.75, 1.33)
    smoothing: Range = (0.0, 0.015)
    edge_bleed: Range = (0.0, 0.02)
    bending: Range = (0.0, 0.05)
    noise: Range = (0.0, 0.02)

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = values = getattr(self, field.name)
            if not low <= high:
                raise UserError(f"{field.name}={values}: give (lowest, highest)")
            if field.name != "shift" and low < 0:
                raise UserError(f"{field.name}={values} must not be negative")
        if min(self.scale[0], self.gamma[0]) == 0:
            raise UserError("scale and gamma must be above 0, or nothing is left to see")


class SimulatedDepth:
    """The simulator's disparity as a monocular depth network might have given it.

    What happens to a picture depends on its episode's key and its step alone, as in
    `sim.corruption.IdCorruption`.
    """

    def __init__(self, config: SimulatedDepthConfig | None = None, seed: int = 0):
        self._config = config or SimulatedDepthConfig()
        self._keys = np.random.default_rng(seed)

    def __call__(self, disparity: np.ndarray, keys: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """(N, H, W) disparity, episode keys (N,), steps within it (N,) -> (N, H, W) float32."""
        return np.stack(
            [
                self._worsen(np.asarray(picture, np.float32), int(key), int(step))
                for picture, key, step in zip(disparity, keys, steps, strict=True)
            ]
        )

    def predict(self, disparity: np.ndarray) -> np.ndarray:
        """(..., H, W) true disparity -> (..., H, W) float32; every frame an episode of its own."""
        frames = disparity.reshape(-1, *disparity.shape[-2:])
        keys = self._keys.integers(2**32, size=len(frames))
        return self(frames, keys, np.zeros_like(keys)).reshape(disparity.shape)

    def _worsen(self, disparity: np.ndarray, key: int, step: int) -> np.ndarray:
        config, episode = self._config, np.random.default_rng([key])
        scale, shift, gamma, smoothing, edge_bleed, bending, noise = (
            episode.uniform(*getattr(config, field.name)) for field in fields(config)
        )
        low = disparity.min()
        span = disparity.max() - low
        if span == 0:
            span = 1  # a wall: only scale, shift and noise are to be seen
        edge = min(disparity.shape)
        picture = _bleed((disparity - low) / span, edge_bleed * edge)
        picture = _blur(picture**gamma, smoothing * edge)
        cells = bending * episode.standard_normal((_CELLS, _CELLS))
        cells += noise * np.random.default_rng([key, 1 + step]).standard_normal((_CELLS, _CELLS))
        picture += _smooth_field(cells, disparity.shape)
        return (scale * (low + span * (picture + shift))).astype(np.float32)


def _bleed(picture: np.ndarray, pixels: float) -> np.ndarray:
    """Near things `pixels` wider; fractions of a pixel blend the whole ones around them."""
    whole = int(pixels)
    narrow, wide = (_dilate(picture, radius) for radius in (whole, whole + 1))
    return narrow + (pixels - whole) * (wide - narrow)


def _dilate(picture: np.ndarray, radius: int) -> np.ndarray:
    if radius == 0:
        return picture
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(picture, disc)


def _blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0 else picture


def _smooth_field(cells: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) float32 that goes through `cells`, as a cubic resize does but five times faster."""
    rows, columns = (_cubic_weights(length) for length in shape)
    return (rows @ cells @ columns.T).astype(np.float32)


@lru_cache
def _cubic_weights(length: int) -> np.ndarray:
    """(length, _CELLS): how much of each cell is in each pixel along one axis."""
    return cv2.resize(np.eye(_CELLS), (_CELLS, length), interpolation=cv2.INTER_CUBIC)
