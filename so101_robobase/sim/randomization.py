"""What differs from one episode to the next, and by how much: ranges, drawn anew at every reset.

`VisualRandomization` (how the scene looks) lives in `looks`; here is what the arm and the cube do.
"""

from dataclasses import dataclass, field, fields

import numpy as np

from robobase.errors import UserError
from so101_robobase.joints import NUM_JOINTS
from so101_robobase.sim.looks import VisualRandomization

Range = tuple[float, float]
Steps = tuple[int, int]

PER_JOINT = (
    "servo_stiffness",
    "servo_damping",
    "force_limit",
    "joint_damping",
    "joint_friction",
    "calibration_offset",
)
"""Numbers of which each joint has its own; the others are one per simulation."""

_WHOLE = ("action_latency", "camera_latency")
_POSITIVE = (
    "cube_edge",
    "cube_mass",
    "friction",
    "servo_stiffness",
    "servo_damping",
    "force_limit",
)
_ANY_SIGN = ("calibration_offset",)


@dataclass(frozen=True)
class PhysicalRandomization:
    """Ranges [lower, upper] of what is drawn for every episode, uniformly; both ends included.

    | field              | unit  | what it is                                                     |
    |--------------------|-------|----------------------------------------------------------------|
    | cube_edge          | m     | edge length of the cube                                        |
    | cube_mass          | kg    | its mass, spread evenly: printed hollow to solid aluminium     |
    | friction           | -     | sliding friction of the cube against fingers and table         |
    | servo_stiffness    | × nom | position gain of each servo                                    |
    | servo_damping      | × nom | velocity gain of each servo                                    |
    | force_limit        | × nom | greatest torque of each servo: a low supply voltage to a high  |
    | joint_damping      | × nom | damping of each joint                                          |
    | joint_friction     | × nom | dry friction of each joint                                     |
    | action_latency     | steps | from the controller's joint targets to the servos              |
    | camera_latency     | steps | age of what the camera shows                                   |
    | encoder_noise      | rad   | standard deviation of the noise of measured positions          |
    | velocity_noise     | rad/s | standard deviation of the noise of measured velocities         |
    | calibration_offset | rad   | what each encoder reads while its joint is at zero             |

    "× nom": times the value of the robot model; one draw per joint. Steps are control steps of
    20 ms. An STS3215 counts 4096 steps a turn (0.0015 rad) and speeds in 50 counts a second
    (0.077 rad/s; data sheet), which bound the noise; 0.035 rad are 2 degrees.

    Whoever reads the joints (the policy, the controller) reads them through noise and offsets, and
    so does each servo: it brings the *measured* joint to its target. Truth (rewards, success, the
    scripted pick) sees neither.
    """

    enabled: bool = False
    cube_edge: Range = (0.024, 0.036)
    cube_mass: Range = (0.015, 0.060)
    friction: Range = (0.5, 1.5)
    servo_stiffness: Range = (0.7, 1.3)
    servo_damping: Range = (0.7, 1.3)
    force_limit: Range = (0.7, 1.1)
    joint_damping: Range = (0.5, 1.5)
    joint_friction: Range = (0.5, 2.0)
    action_latency: Steps = (0, 2)
    camera_latency: Steps = (0, 2)
    encoder_noise: Range = (0.0, 0.002)
    velocity_noise: Range = (0.0, 0.05)
    calibration_offset: Range = (-0.035, 0.035)

    def __post_init__(self) -> None:
        for name in RANGES:
            low, high = given = getattr(self, name)
            where = f"randomization.physical.{name}={list(given)}"
            if not (np.isfinite(given).all() and low <= high):
                raise UserError(f"{where} must be [lower, upper]")
            if name in _POSITIVE and not low > 0:
                raise UserError(f"{where} must be above 0")
            if name not in _ANY_SIGN and low < 0:
                raise UserError(f"{where} must be 0 or more")

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """One value per range, by the field's name: (6,) for those in `PER_JOINT`, else ().

        `cube_edge` is not drawn here: it comes with the start state, in which a gripper may
        already hold the cube (`curriculum.bank`).
        """
        drawn = {}
        for name in RANGES:
            if name == "cube_edge":
                continue
            low, high = getattr(self, name)
            if name in _WHOLE:
                drawn[name] = np.asarray(rng.integers(low, high, endpoint=True))
            else:
                drawn[name] = np.asarray(rng.uniform(low, high, shape_of(name)))
        return drawn


RANGES = tuple(item.name for item in fields(PhysicalRandomization) if item.name != "enabled")
"""Fields of `PhysicalRandomization` that are ranges, in the order in which they are drawn."""


@dataclass(frozen=True)
class RandomizationConfig:
    """How episodes differ: in looks and in physics. Each group has `enabled`, false by default."""

    visual: VisualRandomization = field(default_factory=VisualRandomization)
    physical: PhysicalRandomization = field(default_factory=PhysicalRandomization)


def shape_of(name: str) -> tuple[int, ...]:
    """Shape of one draw of the range `name`."""
    return (NUM_JOINTS,) if name in PER_JOINT else ()
