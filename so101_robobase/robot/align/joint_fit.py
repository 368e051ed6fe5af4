"""Measures one arm's joint zeros, directions and gripper map in a few poses set by hand."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from robobase.errors import UserError
from robobase.reading import read_yaml
from so101_robobase.arm.alignment import GRIPPER, Alignment
from so101_robobase.arm.joints import JOINTS, NUM_JOINTS
from so101_robobase.base.files import written_whole
from so101_robobase.robot.loop.driver import Driver, DriverError
from so101_robobase.sim.scene import Scene

CLOSED, OPEN = "closed", "open"

READINGS = 20
"""Readings that are averaged per pose."""
_PATIENCE = 5  # failed readings in a row
_STEADY = 1.0  # servo units: more spread than this, and the arm was moving

_MOST_RESIDUAL = 12.0  # degrees; eyes and hands are good to about 4
_SLOPE = (0.8, 1.25)  # measured against described angles: degrees, and no other joint's
_LEAST_OPENING = 30.0  # of 0 to 100

_VIEWS = ("side", "topdown", "front")
_PICTURE = (420, 420)  # pixels, of one view


@dataclass(frozen=True)
class ReferencePose:
    """A pose that a person can find by eye: links level, upright or square to one another."""

    name: str
    angles: tuple[float, float, float, float, float]  # degrees, of the model
    gripper: str  # CLOSED or OPEN
    words: str


POSES = (
    ReferencePose(
        "ahead",
        (0.0, 0.0, 0.0, 0.0, 0.0),
        CLOSED,
        "The arm points straight ahead. The upper arm's printed part is upright, forearm and "
        "gripper are level, in one line. The moving finger is on top. Close the gripper until its "
        "fingers stop.",
    ),
    ReferencePose(
        "left_and_down",
        (-90.0, 0.0, 0.0, 90.0, 90.0),
        OPEN,
        "As before, but the arm points to its own left, the gripper hangs straight down and is "
        "rolled a quarter turn, as in the picture. Open the gripper until it stops.",
    ),
    ReferencePose(
        "right_and_folded",
        (90.0, -90.0, 90.0, 0.0, -90.0),
        CLOSED,
        "The arm points to its own right and is folded: the upper arm's printed part leans back "
        "until it is level, forearm and gripper lie level over it, rolled a quarter turn the other "
        "way. Close the gripper.",
    ),
    ReferencePose(
        "gallows",
        (0.0, 0.0, -90.0, 90.0, 0.0),
        OPEN,
        "The arm points straight ahead. Upper arm and forearm stand upright; the gripper is level "
        "and points ahead, rolled as in the first pose. Open the gripper until it stops.",
    ),
)
"""Every joint is at two well separated angles at least, so that its direction is certain."""


@dataclass(frozen=True)
class JointFit:
    """What the poses say.

    Attributes:
        alignment: the one given, with `direction`, `zero` and the gripper's ends replaced.
        residuals: (P, 6) of each pose, degrees (gripper: of 0 to 100).
    """

    alignment: Alignment
    residuals: np.ndarray

    def table(self) -> str:
        """For people."""
        names = [pose.name for pose in POSES]
        width = max(len(name) for name in names) + 2
        head = "".join(f"{name:>{width}}" for name in names)
        lines = [f"{'joint':<14}{'direction':>10}{'zero':>9}  left over:{head}"]
        for joint in range(GRIPPER):
            left = "".join(f"{value:{width}.1f}" for value in self.residuals[:, joint])
            lines.append(
                f"{JOINTS[joint]:<14}{self.alignment.direction[joint]:>+10d}"
                f"{self.alignment.zero[joint]:>9.1f}            {left}"
            )
        return "\n".join(
            [
                *lines,
                f"gripper: closed {self.alignment.gripper_closed:.1f}, "
                f"open {self.alignment.gripper_open:.1f}",
            ]
        )


def fit_joints(servo: np.ndarray, present: Alignment | None = None) -> JointFit:
    """Least squares of direction and zero per joint over `servo` (P, 6) readings of `POSES`.

    Args:
        servo: servo units, degrees for the arm and 0 to 100 for the gripper.
        present: keeps its camera, servos and arm.

    Raises:
        UserError: nan or inf, or readings that no such arm in these poses gives.
    """
    servo = np.asarray(servo, np.float64)
    if servo.shape != (len(POSES), NUM_JOINTS) or not np.isfinite(servo).all():
        raise UserError(f"readings must be {len(POSES)} x {NUM_JOINTS} finite numbers")
    model = np.array([pose.angles for pose in POSES])
    directions, zeros = [], []
    residuals = np.zeros_like(servo)
    for joint in range(GRIPPER):
        fits = [_fit(servo[:, joint], model[:, joint], sign) for sign in (1, -1)]
        best = int(np.argmin([float(left @ left) for _, left in fits]))
        zero, left = fits[best]
        directions.append((1, -1)[best])
        zeros.append(float(zero))
        residuals[:, joint] = left
        _check_joint(JOINTS[joint], servo[:, joint], model[:, joint], left)
    ends = {}
    for state in (CLOSED, OPEN):
        rows = [row for row, pose in enumerate(POSES) if pose.gripper == state]
        ends[state] = float(servo[rows, GRIPPER].mean())
        residuals[rows, GRIPPER] = servo[rows, GRIPPER] - ends[state]
    if abs(ends[OPEN] - ends[CLOSED]) < _LEAST_OPENING:
        raise UserError(
            f"the gripper reads {ends[CLOSED]:.1f} closed and {ends[OPEN]:.1f} open; they must be "
            f"{_LEAST_OPENING:.0f} or more apart: open and close it to its stops, or calibrate it"
        )
    present = present or Alignment()
    alignment = Alignment(
        direction=tuple(directions),  # type: ignore[arg-type]
        zero=tuple(zeros),  # type: ignore[arg-type]
        gripper_closed=ends[CLOSED],
        gripper_open=ends[OPEN],
        camera=present.camera,
        servos=present.servos,
        arm=present.arm,
    )
    return JointFit(alignment, residuals)


def _fit(servo: np.ndarray, model: np.ndarray, direction: int) -> tuple[float, np.ndarray]:
    """Zero, and what it leaves over (P,), of model = direction * (servo - zero)."""
    zero = (servo - direction * model).mean()
    return zero, servo - zero - direction * model


def _check_joint(
    joint: str,
    servo: np.ndarray,
    model: np.ndarray,
    left: np.ndarray,
) -> None:
    span = model - model.mean()
    slope = abs(float(span @ servo / (span @ span)))
    if not _SLOPE[0] <= slope <= _SLOPE[1]:
        raise UserError(
            f"{joint} moved {slope:.2f} times as far as the poses ask for; check that servos have "
            "their right ids and that LeRobot reads degrees (use_degrees=true), then repeat"
        )
    worst = int(np.abs(left).argmax())
    if abs(left[worst]) > _MOST_RESIDUAL:
        raise UserError(
            f"{joint} is {abs(left[worst]):.0f} degrees off in pose {POSES[worst].name!r}, which "
            f"no eye mistakes (at most {_MOST_RESIDUAL:.0f}); compare with its picture and repeat"
        )


def measure(
    driver: Driver,
    ask: Callable[[str], object],
    sleep: Callable[[float], object] = time.sleep,
) -> np.ndarray:
    """Servo readings (P, 6) of `POSES`, into which a person brings the arm, torque off.

    Args:
        driver: open; its torque is taken away first.
        ask: shows a pose's words and returns when the person is ready, as `input`.

    Raises:
        UserError: torque stays on, the arm does not answer, or it keeps moving.
    """
    torque_off(driver)
    readings = []
    for number, pose in enumerate(POSES, 1):
        prompt = f"\npose {number} of {len(POSES)}, {pose.name}: {pose.words}\nHold still; Enter: "
        while True:
            ask(prompt)
            values = np.stack([read_patiently(driver, sleep) for _ in range(READINGS)])
            if np.ptp(values, axis=0).max() <= _STEADY:
                break
            prompt = "The arm moved. Hold it still and press Enter again: "
        readings.append(values.mean(axis=0))
    return np.stack(readings)


def torque_off(driver: Driver) -> None:
    """Torque off. Raises UserError where that is not certain."""
    unconfirmed = driver.release()
    if unconfirmed:
        raise UserError(
            f"torque may still be on in {', '.join(unconfirmed)}; switch the arm off and on again"
        )


def read_patiently(driver: Driver, sleep: Callable[[float], object] = time.sleep) -> np.ndarray:
    """Servo units (6,); some failures are forgiven. Raises UserError where the arm is silent."""
    reason: DriverError | None = None
    for _ in range(_PATIENCE):
        sleep(0.01)
        try:
            return driver.read().position
        except DriverError as error:
            reason = error
    raise UserError(f"the arm does not answer ({reason}); check cable and power")


def load_readings(path: Path) -> np.ndarray:
    """Readings (P, 6) that `save_readings` wrote. Raises UserError for another file."""
    values = read_yaml(path, what="readings", remedy="measure with `robot align joints`")
    names = [pose.name for pose in POSES]
    if not isinstance(values, dict) or set(values) != set(names):
        raise UserError(f"readings {path} must hold the poses {', '.join(names)}, 6 numbers each")
    try:
        rows = np.array([values[name] for name in names], np.float64)
    except (TypeError, ValueError, OverflowError):
        rows = np.empty(0)
    if rows.shape != (len(POSES), NUM_JOINTS):
        raise UserError(f"readings {path}: every pose needs {NUM_JOINTS} numbers")
    return rows


def save_readings(servo: np.ndarray, path: Path) -> None:
    """Write `servo` (P, 6) as YAML, a line per pose."""
    rows = {
        pose.name: [round(float(value), 3) for value in row]
        for pose, row in zip(POSES, servo, strict=True)
    }
    with written_whole(path) as partial:
        partial.write_text(yaml.safe_dump(rows, sort_keys=False, default_flow_style=None))


def draw_poses(scene: Scene, folder: Path) -> list[Path]:
    """A PNG per pose in `folder`: the simulated arm from the side, from above and from the front.

    Raises GLUnavailableError where OpenGL does not start.
    """
    from PIL import Image

    from so101_robobase.sim.views import Views
    from so101_robobase.vision import pictures

    views = Views(scene, _PICTURE)
    paths = []
    try:
        for number, pose in enumerate(POSES, 1):
            drawn = views.render(model_state(scene, pose), _VIEWS)
            tiles = [pictures.caption(drawn[view], f"{view}: {pose.name}") for view in _VIEWS]
            path = folder / f"{number}_{pose.name}.png"
            with written_whole(path) as partial:
                Image.fromarray(pictures.grid(tiles)).save(partial)
            paths.append(path)
    finally:
        views.close()
    return paths


def model_state(scene: Scene, pose: ReferencePose) -> np.ndarray:
    """qpos (13,) of the arm in `pose`, the cube out of sight."""
    lower, upper = scene.model.actuator_ctrlrange[GRIPPER]
    state = scene.model.qpos0.copy()
    state[:GRIPPER] = np.deg2rad(pose.angles)
    state[GRIPPER] = lower if pose.gripper == CLOSED else upper
    state[NUM_JOINTS : NUM_JOINTS + 3] = (0, 0, -1)
    return state
