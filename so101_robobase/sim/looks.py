"""What a wrist-camera picture may look like: ranges, and one draw from them.

Drawing a `Look` is all that happens here; `dressing`, `distractors` and `camera_effects` say what
it does to a picture. Class ids and depth follow a look's camera, lens and distractors only.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np

from robobase.errors import UserError
from robobase.settings.fields import check_fields, kinds
from robobase.settings.kinds import Number, Weights, Whole
from robobase.settings.kinds import Range as bounds
from robobase.settings.setting import on, one_of
from so101_robobase.sim.appearance import (
    BACKGROUND_PATTERNS,
    COLORS,
    LAMP_TARGET,
    NEUTRAL,
    SHAPES,
    TABLE_PATTERNS,
    Distractor,
    Light,
    Look,
    Surface,
    Triple,
)
from so101_robobase.vision.kinds import Source, kinds_with

__all__ = ["NEUTRAL", "Look", "VisualRandomization", "draw_look"]

Range = tuple[float, float]
Steps = tuple[int, int]

SEEING = one_of("env.observation", *kinds_with(*Source))

_LEAST_CONTRAST = 0.25  # RGB distance of a cube from the table, of distractors from the cube
_ATTEMPTS = 100


_PROBABILITY = Number(0, 1)


def _weights(**weights: float) -> Any:
    return field(default_factory=lambda: dict(weights))


_COLOR_NAMES = (*COLORS, "any")


@dataclass(frozen=True)
class VisualRandomization:
    """Ranges of looks. Lengths in metres, angles in degrees, colours and light 0 to 1.

    A pair is [lowest, highest]; a single number is a probability or, where it says ±, half of a
    range about 0; a mapping gives weights by name (they need not add up to 1). Colour, light and
    sensor matter to `observation=rgb` and to networks in `sight` alone.
    """

    NEEDS: ClassVar = (on(".enabled"), SEEING)

    enabled: bool = False  # a new look in every episode
    # ---- Camera, in its own frame, and lens; all observations with pictures
    camera_position: Annotated[float, Number(0, 0.2)] = 0.025  # ± m along each axis
    camera_rotation: Annotated[float, Number(0, 45)] = 5.0  # ± degrees about each axis
    camera_fovy: Annotated[float, Number(0, 30)] = 3.0  # ± degrees, vertical
    # k1; radius in half picture heights
    lens_distortion: Annotated[Range, bounds(Number(-0.1, 0.5))] = (-0.02, 0.06)
    # ---- Light
    num_lights: Annotated[Steps, bounds(Whole(0, 5))] = (1, 3)  # lamps
    # degrees above the table's plane
    light_elevation: Annotated[Range, bounds(Number(5, 90))] = (25.0, 90.0)
    # m from the middle of the table
    light_distance: Annotated[Range, bounds(Number(0.4, 10))] = (0.6, 1.6)
    light_intensity: Annotated[Range, bounds(Number(0, 10))] = (0.25, 0.75)  # of all lamps together
    light_tint: Annotated[float, Number(0, 0.8)] = 0.15  # ± red and ∓ blue, a part of the intensity
    # that a lamp is near by; else light as of the sun
    spot_probability: Annotated[float, _PROBABILITY] = 0.4
    shadow_probability: Annotated[float, _PROBABILITY] = 0.7  # that the brightest lamp throws one
    ambient: Annotated[Range, bounds(Number(0, 10))] = (0.15, 0.45)  # light from everywhere
    # light from where the camera is
    headlight: Annotated[Range, bounds(Number(0, 10))] = (0.0, 0.35)
    # ---- Surfaces
    # on the table, by weight
    table_patterns: Annotated[Mapping[str, float], Weights(*TABLE_PATTERNS)] = _weights(
        plain=2.0,
        checker=0.5,
        stripes=0.5,
        wood=3.0,
        noise=1.0,
        speckle=1.0,
        cloth=1.0,
        marble=1.0,
    )
    table_brightness: Annotated[Range, bounds(Number(0, 1))] = (0.12, 0.95)  # 0 is black
    table_saturation: Annotated[Range, bounds(Number(0, 1))] = (0.0, 0.45)  # 0 is grey
    # between a pattern's two colours
    table_contrast: Annotated[Range, bounds(Number(0, 1))] = (0.03, 0.45)
    # m after which a pattern repeats
    table_scale: Annotated[Range, bounds(Number(0.02, 10))] = (0.1, 0.5)
    # behind the table, by weight
    background_patterns: Annotated[Mapping[str, float], Weights(*BACKGROUND_PATTERNS)] = _weights(
        plain=1.0, gradient=1.0, room=4.0, noise=1.0, stripes=0.5
    )
    gloss: Annotated[Range, bounds(Number(0, 1))] = (0.0, 0.5)  # specular part of plastic surfaces
    # ---- Colours of things
    # by weight; "any" is any colour
    robot_colors: Annotated[Mapping[str, float], Weights(*_COLOR_NAMES)] = _weights(
        white=4, black=3, orange=2, yellow=2, grey=1, blue=1, green=0.5, any=1
    )
    # that fingers have a colour of their own; else the robot's
    finger_differs_probability: Annotated[float, _PROBABILITY] = 0.3
    pad_brightness: Annotated[Range, bounds(Number(0, 1))] = (0.05, 0.6)  # of the fingers' pads
    # by weight; never like the table
    cube_colors: Annotated[Mapping[str, float], Weights(*_COLOR_NAMES)] = _weights(
        red=6, blue=1, green=1, yellow=1, orange=1, wood=0.5, white=0.5, any=1
    )
    color_jitter: Annotated[float, Number(0, 1)] = 0.08  # ± on each channel of a named colour
    # ---- Other things on the table; all observations with pictures
    num_distractors: Annotated[Steps, bounds(Whole(0, 12))] = (0, 4)  # how many
    # by weight
    distractor_shapes: Annotated[Mapping[str, float], Weights(*SHAPES)] = _weights(
        box=2, sheet=1, cylinder=2, sphere=1, ellipsoid=1, capsule=1.5
    )
    # m, half of the longest edge
    distractor_size: Annotated[Range, bounds(Number(0.004, 0.2))] = (0.01, 0.04)
    distractor_x: Annotated[Range, bounds(Number(-0.2, 0.7))] = (0.1, 0.5)  # m from the base
    distractor_y: Annotated[float, Number(0, 0.6)] = 0.25  # ± m
    # ---- What the sensor does; lengths and noise are those of a picture of 480 lines
    # how far pictures come to middle grey: 1 is all the way
    auto_exposure: Annotated[Range, bounds(Number(0, 1))] = (0.4, 1.0)
    exposure: Annotated[Range, bounds(Number(0.1, 10))] = (0.65, 1.4)  # gain beside that
    white_balance: Annotated[float, Number(0, 0.9)] = 0.12  # ± gain of red and of blue
    blur: Annotated[Range, bounds(Number(0, 20))] = (0.0, 1.4)  # standard deviation, pixels
    noise: Annotated[Range, bounds(Number(0, 100))] = (0.0, 9.0)  # standard deviation, of 255
    jpeg_quality: Annotated[Steps, bounds(Whole(5, 100))] = (35, 95)  # of 100

    def __post_init__(self) -> None:
        check_fields(self, "randomization.visual")

    def widened(self, factor: float) -> "VisualRandomization":
        """Every range `factor` times as wide about its middle, where that makes sense.

        For held-out data: 1.2 is 20 % wider. Probabilities and weights stay; no range leaves what
        is possible (a blur below 0, a brightness above 1).
        """
        if not factor >= 0:
            raise UserError(f"widen={factor} must be 0 or more; 1 keeps the ranges")
        changed: dict[str, Any] = {}
        for name, kind in kinds(type(self)).items():
            value, within = getattr(self, name), getattr(kind, "kind", kind)
            if kind is _PROBABILITY or not isinstance(within, Number | Whole):
                continue
            if within is kind:
                changed[name] = min(factor * value, kind.most)
                continue
            middle, half = (value[0] + value[1]) / 2, factor * (value[1] - value[0]) / 2
            low, high = max(middle - half, within.least), min(middle + half, within.most)
            if isinstance(within, Whole):
                low, high = math.floor(low), math.ceil(high)
            changed[name] = (low, high)
        return dataclasses.replace(self, **changed)


def draw_look(config: VisualRandomization, rng: np.random.Generator) -> Look:
    """One look from the ranges of `config`; `config.enabled` is the caller's business."""
    table = _draw_table(config, rng)
    robot = _draw_color(config.robot_colors, config, rng)
    differs = rng.random() < config.finger_differs_probability
    finger = _draw_color(config.robot_colors, config, rng) if differs else robot
    cube = _draw_color(config.cube_colors, config, rng, unlike=table.colors)
    red, blue = 1 + _symmetric(config.white_balance, rng, 2)
    return Look(
        camera_position=_triple(_symmetric(config.camera_position, rng, 3)),
        camera_rotation=_triple(np.radians(_symmetric(config.camera_rotation, rng, 3))),
        camera_fovy=float(_symmetric(config.camera_fovy, rng)),
        lens_distortion=rng.uniform(*config.lens_distortion),
        lights=_draw_lights(config, rng),
        ambient=rng.uniform(*config.ambient),
        headlight=rng.uniform(*config.headlight),
        table=table,
        background=_draw_background(config, rng),
        gloss=rng.uniform(*config.gloss),
        robot_color=robot,
        finger_color=finger,
        pad_color=_triple([rng.uniform(*config.pad_brightness)] * 3),
        cube_color=cube,
        distractors=tuple(
            _draw_distractor(config, cube, rng) for _ in range(_whole(config.num_distractors, rng))
        ),
        auto_exposure=rng.uniform(*config.auto_exposure),
        exposure=float(np.exp(rng.uniform(*np.log(config.exposure)))),
        white_balance=(float(red), 1.0, float(blue)),
        blur=rng.uniform(*config.blur),
        noise=rng.uniform(*config.noise),
        jpeg_quality=_whole(config.jpeg_quality, rng),
        seed=_seed(rng),
    )


def _draw_lights(config: VisualRandomization, rng: np.random.Generator) -> tuple[Light, ...]:
    number = _whole(config.num_lights, rng)
    shares = rng.dirichlet([2.0] * number) if number else ()
    total = rng.uniform(*config.light_intensity)
    shadows = rng.random() < config.shadow_probability
    lights: list[Light] = []
    for share in sorted(shares, reverse=True):
        elevation = np.radians(rng.uniform(*config.light_elevation))
        azimuth = rng.uniform(0, 2 * np.pi)
        away = rng.uniform(*config.light_distance) * np.array(
            [
                np.cos(azimuth) * np.cos(elevation),
                np.sin(azimuth) * np.cos(elevation),
                np.sin(elevation),
            ]
        )
        tint = float(_symmetric(config.light_tint, rng))
        lights.append(
            Light(
                position=_triple(away + np.array(LAMP_TARGET)),
                diffuse=_triple(share * total * np.array([1 + tint, 1.0, 1 - tint])),
                spot=bool(rng.random() < config.spot_probability),
                shadow=shadows and not lights,  # the brightest: each costs a pass of drawing
            )
        )
    return tuple(lights)


def _draw_table(config: VisualRandomization, rng: np.random.Generator) -> Surface:
    brightness = rng.uniform(*config.table_brightness)
    saturation = rng.uniform(*config.table_saturation)
    color = brightness * (1 - saturation * rng.random(3))
    second = color * (1 - rng.uniform(*config.table_contrast)) + rng.normal(0, 0.02, 3)
    return Surface(
        pattern=_choice(config.table_patterns, rng),
        colors=(_triple(color.clip(0, 1)), _triple(second.clip(0, 1))),
        scale=rng.uniform(*config.table_scale),
        seed=_seed(rng),
    )


def _draw_background(config: VisualRandomization, rng: np.random.Generator) -> Surface:
    colors = rng.uniform(0.05, 1) * (1 - 0.5 * rng.random((2, 3)))
    return Surface(
        pattern=_choice(config.background_patterns, rng),
        colors=(_triple(colors[0]), _triple(colors[1])),
        scale=1.0,
        seed=_seed(rng),
    )


def _draw_distractor(
    config: VisualRandomization, cube: Triple, rng: np.random.Generator
) -> Distractor:
    shape = _choice(config.distractor_shapes, rng)
    size = rng.uniform(*config.distractor_size)
    narrow, low = rng.uniform(0.25, 0.6, 2)  # a box is never a cube: that would be one more cube
    half_size = {
        "box": (size, narrow * size, low * size),
        "sheet": (2 * size, 2 * size * rng.uniform(0.5, 1), 0.0005),
        "cylinder": (narrow * size, narrow * size, size),
        "sphere": (0.7 * size,) * 3,
        "ellipsoid": (size, rng.uniform(0.5, 1) * size, low * size),
        "capsule": (size, 0.3 * narrow * size, 0.3 * narrow * size),
    }[shape]
    return Distractor(
        shape=shape,
        position=(
            rng.uniform(*config.distractor_x),
            float(_symmetric(config.distractor_y, rng)),
        ),
        yaw=rng.uniform(0, 2 * np.pi),
        half_size=_triple(half_size),
        color=_draw_color(dict.fromkeys(_COLOR_NAMES, 1.0), config, rng, unlike=(cube,)),
    )


def _draw_color(
    weights: Mapping[str, float],
    config: VisualRandomization,
    rng: np.random.Generator,
    unlike: tuple[Triple, ...] = (),
) -> Triple:
    """A colour that stands out from those of `unlike`; the last drawn where none does."""
    for _ in range(_ATTEMPTS):
        name = _choice(weights, rng)
        color = rng.random(3) if name == "any" else np.array(COLORS[name])
        color = (color + _symmetric(config.color_jitter, rng, 3)).clip(0.02, 1)
        if all(np.linalg.norm(color - other) > _LEAST_CONTRAST for other in unlike):
            break
    return _triple(color)


def _symmetric(half: float, rng: np.random.Generator, size: int | None = None) -> np.ndarray:
    return np.asarray(rng.uniform(-half, half, size))


def _whole(bounds: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _choice(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    chances = np.array(list(weights.values()), float)
    return list(weights)[rng.choice(len(chances), p=chances / chances.sum())]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _triple(values: Any) -> Triple:
    x, y, z = (float(value) for value in values)
    return (x, y, z)
