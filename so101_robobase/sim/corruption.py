"""Mistakes of a segmentation network, made on purpose in what the policy sees while it learns.

On the robot class ids come from a network: their edges waver, patches get another class, things
flicker out of sight, and they are coarser than the picture. A policy that has only seen the
simulator's ids acts on such pictures as it likes. How often each mistake is made can be measured
on a trained network (`so101_robobase perception parity`) and read from its report.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np

from robobase.errors import UserError
from robobase.reading import read_json
from robobase.settings.fields import check_fields
from robobase.settings.kinds import Items, Number, OrNull, Range, Text
from robobase.settings.setting import null, on, one_of
from so101_robobase.vision.kinds import Source, kinds_with
from so101_robobase.vision.observation import CLASSES, ClassId, resize_nearest

OBJECTS = (ClassId.CUBE, ClassId.STATIC_FINGER, ClassId.MOVING_FINGER)
"""Classes that a network may miss altogether in a frame."""

_FIELD = 12  # cells per axis of the random field that bends edges: mistakes come in patches
_REPORT_KEYS = ("boundary", "blobs", "missing", "confusion")

_CONFUSION = Items(Items(Number(0, 10**9), len(CLASSES), len(CLASSES)), len(CLASSES), len(CLASSES))
_SEEN = null("env.sight.segmentation")  # else a network's ids, with mistakes of its own
_SAID = null(".report")


class Spread:
    """A number of 0 or more; or a rising list of them, the spread over episodes."""

    def __call__(self, value: Any) -> float | tuple[float, ...]:
        number = Number(0, 10_000)
        if not isinstance(value, Sequence):
            return number(value)
        rising = Items(number, least=2)(value)
        if list(rising) != sorted(rising):
            raise ValueError
        return rising

    def __str__(self) -> str:
        return "a number from 0 to 10,000, or a rising list of such numbers"


@dataclass(frozen=True)
class CorruptionConfig:
    """How often and how badly class ids are wrong, as a network's would be, for policies that will
    see through one. Lengths in pixels of the policy's picture.

    Every episode draws its own strength for each kind, between nothing and the value here.

    Attributes:
        enabled: make these mistakes.
        boundary: greatest shift of an edge (standard deviation over the picture).
        blobs: greatest mean number of wrong patches per frame; or how it is spread over episodes,
            as a rising list at evenly spaced quantiles (1.0 is the same as [0, 1]). A network is
            right in most scenes and badly wrong in a few, which a mean would spread over all.
        blob_radius: smallest and largest radius of a patch.
        missing: probability that a frame lacks an object (cube, either finger) altogether.
        coarseness: greatest factor by which the ids are coarser than the picture.
        confusion: 6 x 6, row: true class, column: how often a patch of it is taken for another
            one; the diagonal does not count. None: the classes that lie around it, and unlabeled.
        depth: disparity too is bent, smoothed, bled and noisy, as `sim.simulated_depth` says.
        report: JSON file of `perception parity`, whose measured figures replace the four above
            that it holds (boundary, blobs, missing, confusion).
    """

    NEEDS: ClassVar = (on(".enabled"), one_of("env.observation", *kinds_with(Source.IDS)))

    enabled: bool = False
    boundary: Annotated[float, Number(0, 100), _SAID, _SEEN] = 1.0
    blobs: Annotated[float | Sequence[float], Spread(), _SAID, _SEEN] = 1.0
    blob_radius: Annotated[tuple[float, float], Range(Number(above=0, most=500)), _SEEN] = (
        1.0,
        6.0,
    )
    missing: Annotated[float, Number(0, 1), _SAID, _SEEN] = 0.02
    coarseness: Annotated[float, Number(1, 100), _SEEN] = 2.0
    confusion: Annotated[Sequence[Sequence[float]] | None, OrNull(_CONFUSION), _SAID, _SEEN] = None
    depth: Annotated[bool, one_of("env.observation", *kinds_with(Source.DISPARITY))] = True
    report: Annotated[str | None, OrNull(Text())] = None

    def __post_init__(self) -> None:
        check_fields(self, "corruption")

    def measured(self) -> "CorruptionConfig":
        """This config with the figures of its `report`, if it names one."""
        if self.report is None:
            return self
        remedy = "give the parity.json of `so101_robobase perception parity`, or null"
        report = read_json(Path(self.report), what="corruption.report", remedy=remedy)
        try:
            figures = report["corruption"]
            values = {key: figures[key] for key in _REPORT_KEYS}
            values["confusion"] = tuple(map(tuple, values["confusion"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"corruption.report={self.report} is no such report; {remedy}"
            ) from error
        return replace(self, report=None, **values)


class IdCorruption:
    """Makes the mistakes of `config` in pictures of class ids.

    What happens to a picture depends on its episode's key and its step alone, so an observation
    can be made again, and a resumed run sees what the unbroken one saw.
    """

    def __init__(self, config: CorruptionConfig):
        self._config = config.measured()
        self._confused_with = _probabilities(self._config.confusion)

    def __call__(self, ids: np.ndarray, keys: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """(N, H, W) uint8 class ids, episode keys (N,), steps within it (N,) -> (N, H, W) uint8."""
        return np.stack(
            [
                self._corrupt(picture, int(key), int(step))
                for picture, key, step in zip(ids, keys, steps, strict=True)
            ]
        )

    def _corrupt(self, ids: np.ndarray, key: int, step: int) -> np.ndarray:
        config = self._config
        boundary, level, missing, coarseness = np.random.default_rng([key]).uniform(size=4)
        rng = np.random.default_rng([key, 1 + step])
        ids = self._forget(ids, missing * config.missing, rng)
        ids = self._add_blobs(ids, rng.poisson(_quantile(config.blobs, level)), rng)
        ids = _coarsen(ids, 1 + coarseness * (config.coarseness - 1))
        return _bend(ids, boundary * config.boundary, rng)

    def _forget(self, ids: np.ndarray, probability: float, rng: np.random.Generator) -> np.ndarray:
        """Each object is taken, with `probability`, for one other class in the whole frame."""
        for thing, lot in zip(OBJECTS, rng.uniform(size=len(OBJECTS)), strict=True):
            if lot < probability:
                ids = np.where(ids == thing, self._mistaken(ids, int(thing), rng), ids)
        return ids

    def _add_blobs(self, ids: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """`count` round patches of one class become another one's."""
        if count == 0:
            return ids
        height, width = ids.shape
        ids = ids.copy()
        for _ in range(count):
            row, column = rng.integers(height), rng.integers(width)
            radius = rng.uniform(*self._config.blob_radius)
            patch = np.zeros(ids.shape, np.uint8)
            cv2.circle(patch, (int(column), int(row)), round(radius), 1, thickness=-1)
            true = int(ids[row, column])
            ids[(patch > 0) & (ids == true)] = self._mistaken(ids, true, rng)
        return ids

    def _mistaken(self, ids: np.ndarray, true: int, rng: np.random.Generator) -> int:
        """What a patch of class `true` is taken for."""
        if self._confused_with is not None:
            return int(rng.choice(len(CLASSES), p=self._confused_with[true]))
        others = [c for c in (*np.unique(ids), ClassId.UNLABELED) if c != true]
        return int(others[rng.integers(len(others))]) if others else true


def _quantile(spread: float | Sequence[float], level: float) -> float:
    """The value at `level` in 0 to 1 of a spread as `CorruptionConfig.blobs`."""
    values = (0.0, spread) if isinstance(spread, int | float) else spread
    return float(np.interp(level, np.linspace(0, 1, len(values)), values))


def _probabilities(confusion: Sequence[Sequence[float]] | None) -> np.ndarray | None:
    """Rows of `confusion` as probabilities of the wrong classes; a class never confused stays."""
    if confusion is None:
        return None
    wrong = np.array(confusion, np.float64)
    np.fill_diagonal(wrong, 0)
    never = wrong.sum(axis=1) == 0
    wrong[never, never] = 1
    return wrong / wrong.sum(axis=1, keepdims=True)


def _coarsen(ids: np.ndarray, factor: float) -> np.ndarray:
    """The ids as a picture `factor` times coarser would show them."""
    size = round(ids.shape[0] / factor)
    return ids if size == ids.shape[0] else resize_nearest(resize_nearest(ids, size), len(ids))


def _bend(ids: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """Shift what is seen by a smooth random field of standard deviation `pixels` per axis."""
    height, width = ids.shape
    cells = rng.standard_normal((_FIELD, _FIELD, 2), np.float32)
    if pixels == 0:
        return ids
    field = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    field = field * np.float32(pixels / field.std())
    rows, columns = np.indices(ids.shape, np.float32)
    return cv2.remap(
        ids,
        columns + field[..., 0],
        rows + field[..., 1],
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
