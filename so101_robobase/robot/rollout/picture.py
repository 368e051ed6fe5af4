"""One picture for the policy, and what may be wrong with it."""

from enum import StrEnum
from typing import NamedTuple

import numpy as np


class Flaw(StrEnum):
    """What is wrong with pictures, in words that fit after "the camera's pictures are"."""

    BLACK = "black"
    WHITE = "overexposed"
    FLAT = "of one colour"
    TORN = "torn"  # a part is missing: rows or columns that repeat one another
    FROZEN = "frozen"  # the same, though the arm moves


REMEDIES = {
    Flaw.BLACK: "take the lens cap off, give it light",
    Flaw.WHITE: "give it less light, or a shorter exposure",
    Flaw.FLAT: "look what is before the lens",
    Flaw.TORN: "try another USB port, without a hub, or a smaller picture",
    Flaw.FROZEN: "pull the camera's plug and put it back",
}
"""What a person can do."""


class Picture(NamedTuple):
    """What the policy sees of one moment."""

    time: float  # s, of the loop's clock, when the frame was taken
    picture: np.ndarray  # (C, H, W) uint8
    frame: np.ndarray | None  # (h, w, 3) uint8 BGR that it was made from
    flaw: Flaw | None = None  # what is wrong with it; noted by `Sight`s, as the next
    same_since: float | None = None  # when its very pixels were first seen
