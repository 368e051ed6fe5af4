"""What differs from one episode to the next, and by how much: ranges, drawn anew at every reset.

`VisualRandomization` (how the scene looks) lives in `looks`; here is what the arm and the cube do.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Annotated, ClassVar

import numpy as np

from robobase.settings.fields import check_fields
from robobase.settings.kinds import Number, OrNull, Whole
from robobase.settings.kinds import Range as bounds
from robobase.settings.setting import on, one_of
from so101_robobase.sim.looks import SEEING, VisualRandomization

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


@dataclass(frozen=True)
class PhysicalRandomization:
    """Ranges [lower, upper] of what is drawn for every episode, uniformly; both ends included.

    | setting            | unit  | what it is                                                     |
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

    `cube_edge` and `cube_mass` may be None: those of the scene's cube (`env.scene`).

    "× nom": times the value of the robot model; one draw per joint. Steps are control steps of
    20 ms. An STS3215 counts 4096 steps a turn (0.0015 rad) and speeds in 50 counts a second
    (0.077 rad/s; data sheet), which bound the noise; 0.035 rad are 2 degrees.

    Whoever reads the joints (the policy, the controller) reads them through noise and offsets, and
    so does each servo: it brings the *measured* joint to its target. Truth (rewards, success, the
    scripted pick) sees neither.
    """

    NEEDS: ClassVar = (on(".enabled"),)

    enabled: bool = False  # other physics in every episode
    cube_edge: Annotated[Range | None, OrNull(bounds(Number(0.004, 0.1)))] = (0.024, 0.036)
    cube_mass: Annotated[Range | None, OrNull(bounds(Number(0.001, 2)))] = (0.015, 0.060)
    friction: Annotated[Range, bounds(Number(above=0, most=10))] = (0.5, 1.5)
    servo_stiffness: Annotated[Range, bounds(Number(above=0, most=10))] = (0.7, 1.3)
    servo_damping: Annotated[Range, bounds(Number(above=0, most=10))] = (0.7, 1.3)
    force_limit: Annotated[Range, bounds(Number(above=0, most=10))] = (0.7, 1.1)
    joint_damping: Annotated[Range, bounds(Number(0, 10))] = (0.5, 1.5)
    joint_friction: Annotated[Range, bounds(Number(0, 10))] = (0.5, 2.0)
    action_latency: Annotated[Steps, bounds(Whole(0, 50))] = (0, 2)
    camera_latency: Annotated[Steps, bounds(Whole(0, 50)), SEEING] = (0, 2)
    encoder_noise: Annotated[Range, bounds(Number(0, 0.5))] = (0.0, 0.002)
    velocity_noise: Annotated[
        Range, bounds(Number(0, 10)), one_of("env.joint_velocity", "exact")
    ] = (0.0, 0.05)
    calibration_offset: Annotated[Range, bounds(Number(-1, 1))] = (-0.035, 0.035)

    def __post_init__(self) -> None:
        check_fields(self, "randomization.physical")

    def of(self, cube_edge: float, cube_mass: float) -> "PhysicalRandomization":
        """With ranges for what the scene says alone: the edge of its cube, m, and its mass, kg."""
        edges, masses = self.cube_edge, self.cube_mass
        return replace(
            self,
            cube_edge=(cube_edge, cube_edge) if edges is None else edges,
            cube_mass=(cube_mass, cube_mass) if masses is None else masses,
        )

    def draw(self, rng: np.random.Generator, num_joints: int) -> dict[str, np.ndarray]:
        """One value per range, by the field's name: (J,) for those in `PER_JOINT`, else ().

        `cube_edge` is not drawn here: it comes with the start state, in which a gripper may
        already hold the cube (`tasks.starts.bank`).
        """
        drawn = {}
        for name, shape in shapes(num_joints).items():
            if name == "cube_edge":
                continue
            low, high = getattr(self, name)
            if name in _WHOLE:
                drawn[name] = np.asarray(rng.integers(low, high, endpoint=True))
            else:
                drawn[name] = np.asarray(rng.uniform(low, high, shape))
        return drawn


RANGES = tuple(item.name for item in fields(PhysicalRandomization) if item.name != "enabled")
"""Fields of `PhysicalRandomization` that are ranges, in the order in which they are drawn."""


@dataclass(frozen=True)
class RandomizationConfig:
    """How episodes differ: in looks and in physics. Each group has `enabled`, false by default."""

    visual: VisualRandomization = field(default_factory=VisualRandomization)
    physical: PhysicalRandomization = field(default_factory=PhysicalRandomization)


def shapes(num_joints: int) -> dict[str, tuple[int, ...]]:
    """Shape of one draw of every range, for arms of so many joints."""
    return {name: (num_joints,) if name in PER_JOINT else () for name in RANGES}
