"""Whether a camera's pictures can be believed: black, white, one colour, torn, or always the same.

The limits were set with twenty pictures of other people's wrist cameras, sent as MJPG of any
quality too. In those every colour spreads over 108 or more (of 255), at most 21 % of the pixels are
darker than 16, at most 13 % brighter than 250, and at most 3 rows or columns in succession are
alike.
"""

import numpy as np

from so101_robobase.robot.rollout.picture import Flaw, Picture

_SAMPLES = 80, 20  # along an edge, by which colours are judged, and whether lines are alike
_DARK, _BRIGHT = 40, 250  # of 255
_FEW = 0.01  # of all pixels: may be otherwise
_MOST_BRIGHT = 0.8  # of all pixels
_LEAST_SPREAD = 24  # of 255, of one colour at least
_BAR = 16  # of 255: brighter is no black bar
_REPEATED = 1 / 8  # of the picture's height or width, in succession


def flaw_of(frame: np.ndarray) -> Flaw | None:
    """What is wrong with a camera's frame (h, w, 3) uint8, if anything.

    Takes 0.5 ms at 640x480. Black bars above and below, or left and right, are not torn.
    """
    many, few = _SAMPLES
    down, across = (max(1, size // many) for size in frame.shape[:2])
    sample = frame[::down, ::across]
    low, bright, high = _quantiles(sample, _FEW, 1 - _MOST_BRIGHT, 1 - _FEW)
    if (high <= _DARK).all():
        return Flaw.BLACK
    if (bright >= _BRIGHT).all():
        return Flaw.WHITE
    if (high - low < _LEAST_SPREAD).all():
        return Flaw.FLAT
    down, across = (max(1, size // few) for size in frame.shape[:2])
    for lines in (frame[:, ::across], frame[::down].swapaxes(0, 1)):
        if _longest_repeat(_without_bars(lines.reshape(len(lines), -1))) >= _REPEATED:
            return Flaw.TORN
    return None


def flaw_of_exact(picture: np.ndarray) -> Flaw | None:
    """The same of a simulator's picture (C, H, W) uint8 of ids or colours, which has no noise.

    The wrist camera always sees fingers, at the lower edge too.
    """
    if all(channel.min() == channel.max() for channel in picture):
        return Flaw.FLAT if picture.any() else Flaw.BLACK
    below = picture[:, -max(2, round(_REPEATED * picture.shape[1])) :]
    return Flaw.TORN if (below == below[:, :1]).all() else None


class FrameWatch:
    """Notes on each picture, in the order in which they were taken, what is wrong with it."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._since = -np.inf

    def note(self, picture: Picture) -> Picture:
        """`picture` with its `flaw`, and since when its pixels have been the same."""
        seen = picture.picture if picture.frame is None else picture.frame
        if self._last is None or not _same(seen, self._last):
            self._last, self._since = seen.copy(), picture.time  # whoever made it may use it again
        flaw = flaw_of_exact(seen) if picture.frame is None else flaw_of(seen)
        return picture._replace(flaw=flaw, same_since=self._since)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    middle = len(one) // 2  # most differ there already
    return np.array_equal(one[middle], other[middle]) and np.array_equal(one, other)


def _quantiles(sample: np.ndarray, *shares: float) -> np.ndarray:
    """(S, 3): of each colour the values below which those `shares` of `sample` (h, w, 3) lie."""
    counts = [np.bincount(sample[..., color].ravel(), minlength=256) for color in range(3)]
    pixels = sample.shape[0] * sample.shape[1]
    wanted = pixels * np.array(shares)
    return np.stack([np.searchsorted(np.cumsum(count), wanted) for count in counts], axis=1)


def _without_bars(lines: np.ndarray) -> np.ndarray:
    """`lines` (n, m) but for as many black ones at either end."""
    black = lines.max(axis=1) <= _BAR
    if not black[0] or not black[-1]:
        return lines
    bar = min(int(np.argmin(black)), int(np.argmin(black[::-1])))
    return lines[bar : len(lines) - bar]


def _longest_repeat(lines: np.ndarray) -> float:
    """The longest run of lines (n, m) that equal the one before, as a share of all."""
    same = (lines[1:] == lines[:-1]).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], same, [0]])))
    return float(np.max(edges[1::2] - edges[::2], initial=0)) / len(lines)
