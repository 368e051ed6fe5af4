"""The kinds of observation there are, each described once: what its picture is made of.

Whoever makes, shows or stores pictures asks here: the simulator's observer and the robot's camera,
settings, panels for people, recordings. Another kind is another row of `KINDS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from so101_robobase.vision import observation
from so101_robobase.vision.observation import IMAGE_SIZE


class Source(Enum):
    """What a camera's frame is turned into; (channels, what they hold)."""

    IDS = 1, "ids"
    DISPARITY = 1, "value"
    COLORS = 3, "value"

    @property
    def channels(self) -> int:
        return self.value[0]


@dataclass(frozen=True)
class ObservationKind:
    """One value of `env.observation`.

    Attributes:
        name: of the kind.
        sources: what the picture consists of, by its channels; none: there is no picture.
    """

    name: str
    sources: tuple[Source, ...]

    @property
    def channels(self) -> int:
        """Channels of a picture, uint8."""
        return sum(source.channels for source in self.sources)

    @property
    def channel_kinds(self) -> tuple[str, ...] | None:
        """What each channel holds, for encoders, which turn ids to one-hot; None: values all."""
        held = [source.value[1] for source in self.sources for _ in range(source.channels)]
        return tuple(held) if "ids" in held else None

    def sees(self, *sources: Source) -> bool:
        """Whether any of `sources` is in the picture."""
        return any(source in self.sources for source in sources)

    def picture(self, seen: Mapping[Source, np.ndarray], size: int = IMAGE_SIZE) -> np.ndarray:
        """The policy's picture (..., C, size, size) uint8.

        Args:
            seen: by source: class ids (..., H, W) uint8, disparity (..., H, W) float32, colours
                (..., H, W, 3) uint8 RGB.
        """
        parts = [_MAKE[source](seen[source], size) for source in self.sources]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-3)


_MAKE = {
    Source.IDS: observation.seg,
    Source.DISPARITY: observation.disparity_channel,
    Source.COLORS: observation.rgb,
}

KINDS = {
    kind.name: kind
    for kind in (
        ObservationKind("seg_depth", (Source.IDS, Source.DISPARITY)),
        ObservationKind("seg", (Source.IDS,)),
        ObservationKind("rgb", (Source.COLORS,)),
        ObservationKind("state", ()),
    )
}


def kinds_with(*sources: Source) -> tuple[str, ...]:
    """Names of the kinds in whose picture any of `sources` is; without arguments of all."""
    return tuple(name for name, kind in KINDS.items() if not sources or kind.sees(*sources))
