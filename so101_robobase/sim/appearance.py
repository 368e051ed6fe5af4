"""What one wrist-camera picture looks like: a `Look` and its parts, plain numbers all.

`looks` draws them; `dressing`, `distractors` and `camera_effects` say what they do to a picture.
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Triple = tuple[float, float, float]

LAMP_TARGET: Triple = (0.25, 0.0, 0.0)
"""Where lamps point: the middle of the table, metres from the base."""

COLORS: dict[str, Triple] = {
    "white": (0.92, 0.92, 0.90),
    "grey": (0.50, 0.50, 0.50),
    "black": (0.09, 0.09, 0.10),
    "red": (0.85, 0.10, 0.10),
    "orange": (0.95, 0.45, 0.08),
    "yellow": (1.00, 0.82, 0.12),
    "green": (0.15, 0.60, 0.25),
    "blue": (0.12, 0.30, 0.75),
    "purple": (0.45, 0.20, 0.60),
    "wood": (0.72, 0.52, 0.32),
}
"""Colours by name, RGB 0 to 1; "any" in a configuration is a colour drawn from the whole cube."""

TABLE_PATTERNS = ("plain", "checker", "stripes", "wood", "noise", "speckle", "cloth", "marble")
BACKGROUND_PATTERNS = ("plain", "gradient", "room", "noise", "stripes")
SHAPES = ("box", "sheet", "cylinder", "sphere", "ellipsoid", "capsule")


@dataclass(frozen=True)
class Light:
    """One lamp: `position` in metres from the base; it points at `LAMP_TARGET`."""

    position: Triple
    diffuse: Triple  # RGB
    spot: bool  # a cone with fall-off; else parallel light
    shadow: bool


@dataclass(frozen=True)
class Surface:
    """A procedural picture: its two colours, its size in metres and what else it is drawn from."""

    pattern: str
    colors: tuple[Triple, Triple]
    scale: float
    seed: int


@dataclass(frozen=True)
class Distractor:
    """A thing that lies on the table and touches nothing."""

    shape: str  # of SHAPES
    position: tuple[float, float]  # on the table, metres from the base
    yaw: float  # radians about the vertical
    half_size: Triple  # metres, in its own frame; height last
    color: Triple


@dataclass(frozen=True)
class Look:
    """All that one draw decided. None means as the scene has it; `Look()` changes nothing.

    `camera_position` (m) and `camera_rotation` (rad, about x, then y, then z) are in the camera's
    own frame: x right, y up, looking along -z. `camera_fovy` is added, in degrees. `auto_exposure`
    says how far the camera brings a picture to middle grey, 0 not at all, 1 fully.
    """

    camera_position: Triple = (0.0, 0.0, 0.0)
    camera_rotation: Triple = (0.0, 0.0, 0.0)
    camera_fovy: float = 0.0
    lens_distortion: float = 0.0
    lights: tuple[Light, ...] | None = None
    ambient: float | None = None
    headlight: float | None = None
    table: Surface | None = None
    background: Surface | None = None
    gloss: float | None = None
    robot_color: Triple | None = None
    finger_color: Triple | None = None
    pad_color: Triple | None = None
    cube_color: Triple | None = None
    distractors: tuple[Distractor, ...] = ()
    exposure: float = 1.0
    auto_exposure: float = 0.0
    white_balance: Triple = (1.0, 1.0, 1.0)
    blur: float = 0.0
    noise: float = 0.0
    jpeg_quality: int | None = None
    seed: int = 0  # of the sensor's noise

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings, tuples and dictionaries; `from_dict` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Look":
        """The look that `to_dict` wrote; lists may stand for tuples."""
        return _rebuilt(cls, values)


NEUTRAL = Look()


def _rebuilt(kind: Any, value: Any) -> Any:
    """`value` of `dataclasses.asdict` as the annotated type `kind`."""
    if dataclasses.is_dataclass(kind):
        types = typing.get_type_hints(kind)
        return kind(**{name: _rebuilt(types[name], value[name]) for name in types})  # type: ignore
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if value is None:
        return None
    if type(None) in arguments:
        return _rebuilt(next(a for a in arguments if a is not type(None)), value)
    if origin is tuple:
        items = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_rebuilt(item, part) for item, part in zip(items, value, strict=True))
    return value
