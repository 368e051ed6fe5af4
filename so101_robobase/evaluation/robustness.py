"""The robustness suite: one thing at a time is made other than it was, then everything at once.

Every policy plays the same conditions from the same start states, of a range of seeds that is the
suite's own. What a policy was trained with is off: what varies is what the condition says.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from robobase.errors import UserError
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.sim.corruption import CorruptionConfig
from so101_robobase.sim.looks import VisualRandomization
from so101_robobase.sim.randomization import PhysicalRandomization
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.vision.kinds import Source, kinds_with

SEED = 60_000_000
"""Of the suite's episodes, which no training, choice or README figure uses otherwise."""

AS_IT_IS, CUBE_PLACE, STRANGER = "as it is", "cube place", "stranger"
BEYOND = 0.05  # m on each side of the box in which the task puts cubes
PLACES = 8  # times as many episodes, because they are spread over the table

_CUBE_EDGES = (0.020, 0.025, 0.035, 0.040)  # m
_MASSES = (0.010, 0.060, 0.120)  # kg
_FRICTIONS = (0.25, 0.35, 1.0, 1.5)
_DELAYS = (1, 2, 4, 6)  # control steps
_ZEROS = (1, 2, 3, 5)  # ± degrees
_GAINS = (0.5, 0.7, 1.3, 1.6)  # × nominal
_CAMERA_SHIFTS = (0.005, 0.010, 0.020, 0.030)  # ± m
_CAMERA_TURNS = (2, 5, 8)  # ± degrees
_MISTAKES = (0.5, 1.0, 2.0)  # × the default figures

_PHYSICAL, _VISUAL = "env.randomization.physical", "env.randomization.visual"
_CORRUPTION = "env.corruption"
_VARIED = (_PHYSICAL, _VISUAL, _CORRUPTION, "env.cube_box")

_NO_PHYSICS: dict[str, Any] = {
    "servo_stiffness": [1, 1],
    "servo_damping": [1, 1],
    "force_limit": [1, 1],
    "joint_damping": [1, 1],
    "joint_friction": [1, 1],
    "action_latency": [0, 0],
    "camera_latency": [0, 0],
    "encoder_noise": [0, 0],
    "velocity_noise": [0, 0],
    "calibration_offset": [0, 0],
}
_NO_LOOKS: dict[str, Any] = {
    "camera_position": 0,
    "camera_rotation": 0,
    "camera_fovy": 0,
    "lens_distortion": [0, 0],
    "num_distractors": [0, 0],
}


@dataclass(frozen=True)
class Condition:
    """One line of the suite: `overrides` of a snapshot's config make it."""

    factor: str
    level: str
    overrides: dict[str, Any] = field(repr=False)
    share: int = 1  # times as many episodes as a plain one


def conditions(task: TaskConfig) -> list[Condition]:
    """Those that mean something to `task`, the policy's as it is evaluated.

    The place of the cube varies where all episodes start in stage 0; cameras, pictures and ids
    where the policy sees them.
    """
    return list(_conditions(task))


def check_overrides(keys: Iterable[str]) -> None:
    """Raises UserError for a key that the suite itself sets."""
    for key in keys:
        if any(f"{key}.".startswith(f"{group}.") for group in _VARIED):
            raise UserError(
                f"--overrides {key}: --suite robustness varies {', '.join(_VARIED)} itself; leave "
                "it out"
            )


def _conditions(task: TaskConfig) -> Iterator[Condition]:
    off = {f"{group}.enabled": False for group in (_PHYSICAL, _VISUAL, _CORRUPTION)}
    yield Condition(AS_IT_IS, "", off)
    if [stage for stage, _ in task.stage_weights] == [0]:
        box = {
            f"env.cube_box.{axis}": [low - BEYOND, high + BEYOND]
            for axis, (low, high) in (("x", task.cube_box.x), ("y", task.cube_box.y))
        }
        yield Condition(CUBE_PLACE, f"{100 * BEYOND:.0f} cm beyond its box", off | box, PLACES)

    scene = task.scene
    nominal = {
        **_NO_PHYSICS,
        "cube_edge": [2 * scene.cube_half_size] * 2,
        "cube_mass": [scene.cube_mass] * 2,
        "friction": [scene.cube_friction[0]] * 2,
    }

    def physics(factor: str, level: str, **ranges: Any) -> Condition:
        return Condition(factor, level, off | _group(_PHYSICAL, nominal | ranges))

    for edge in _CUBE_EDGES:
        yield physics("cube's edge", f"{1000 * edge:.0f} mm", cube_edge=[edge, edge])
    for mass in _MASSES:
        yield physics("cube's mass", f"{1000 * mass:.0f} g", cube_mass=[mass, mass])
    for friction in _FRICTIONS:
        yield physics("friction", f"{friction:g}", friction=[friction, friction])
    for steps in _DELAYS:
        yield physics("late commands", _milliseconds(steps), action_latency=[steps, steps])
    if task.pixels:
        for steps in _DELAYS:
            yield physics("late pictures", _milliseconds(steps), camera_latency=[steps, steps])
    for degrees in _ZEROS:
        zero = degrees * 3.14159 / 180
        yield physics("joint zeros", f"± {degrees}°", calibration_offset=[-zero, zero])
    for gain in _GAINS:
        yield physics("servo gains", f"× {gain:g}", servo_stiffness=[gain, gain])

    def looks(factor: str, level: str, **ranges: Any) -> Condition:
        return Condition(factor, level, off | _group(_VISUAL, _NO_LOOKS | ranges))

    if task.pixels:
        for shift in _CAMERA_SHIFTS:
            yield looks("camera's place", f"± {1000 * shift:.0f} mm", camera_position=shift)
        for degrees in _CAMERA_TURNS:
            yield looks("camera's angle", f"± {degrees}°", camera_rotation=degrees)

    mistakes = CorruptionConfig()
    sees_ids = task.observation in kinds_with(Source.IDS) and task.sight.segmentation is None
    if task.pixels and sees_ids:
        for factor in _MISTAKES:
            yield Condition(
                "wrong ids", f"× {factor:g}", off | _group(_CORRUPTION, _worse(mistakes, factor))
            )
    stranger = off | _group(_PHYSICAL, asdict(PhysicalRandomization()))
    if task.pixels:
        stranger |= _group(_VISUAL, asdict(VisualRandomization()))
        if sees_ids:
            stranger |= _group(_CORRUPTION, _worse(mistakes, 1.0))
    yield Condition(STRANGER, "all at once", stranger)


def _group(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    plain = {
        f"{prefix}.{key}": list(value) if isinstance(value, tuple) else value
        for key, value in values.items()
    }
    return plain | {f"{prefix}.enabled": True}


def _worse(mistakes: CorruptionConfig, factor: float) -> dict[str, Any]:
    blobs = mistakes.blobs
    assert isinstance(blobs, float)
    return {
        "report": None,
        "boundary": mistakes.boundary * factor,
        "blobs": blobs * factor,
        "missing": mistakes.missing * factor,
        "coarseness": max(1.0, mistakes.coarseness * factor),
    }


def _milliseconds(control_steps: int) -> str:
    return f"{1000 * CONTROL_PERIOD * control_steps:.0f} ms"
