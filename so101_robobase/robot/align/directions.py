"""Whether joints that a person moves by hand turn the way the model says."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from so101_robobase.arm.alignment import Units
from so101_robobase.arm.joints import JOINTS

MOTIONS = {
    "shoulder_pan": "turn the arm clockwise, seen from above",
    "shoulder_lift": "lean the upper arm forward, away from the base",
    "elbow_flex": "bend the forearm down",
    "wrist_flex": "bend the gripper down",
    "wrist_roll": "turn the gripper anticlockwise, seen from the base along the forearm",
    "gripper": "open the jaw",
}
"""What makes each joint of the model turn in its positive direction."""

_LEAST = np.deg2rad(5.0)  # of motion that says anything


class Item(NamedTuple):
    """One line of a check."""

    name: str
    ok: bool
    text: str


class Person(Protocol):
    """Who moves the arm."""

    def do(self, request: str, show: Callable[[], str]) -> bool:
        """Ask for something and show how it goes on until it is done; False: left out."""


def check_joint(
    joint: int, read: Callable[[], np.ndarray], units: Units, person: Person
) -> Item | None:
    """Have joint number `joint` moved; None where the person leaves it out.

    `read` gives joint positions (6,) in servo units.
    """
    name = JOINTS[joint]
    start = read()

    def moved() -> tuple[float, np.ndarray]:
        now = read()
        return float(now[joint] - start[joint]), units.to_model(now) - units.to_model(start)

    def show() -> str:
        servo, model = moved()
        return f"servo {servo:+6.1f}, model {np.rad2deg(model[joint]):+6.1f} degrees"

    if not person.do(f"{name}: {MOTIONS[name]}, by a hand's breadth", show):
        return None
    servo, model = moved()
    farthest = int(np.abs(model).argmax())
    seen = f"servo {servo:+.1f}, model {np.rad2deg(model[joint]):+.1f} degrees"
    label = f"direction of {name}"
    if abs(model[farthest]) < _LEAST:
        return Item(label, False, "nothing moved; move it further and check again")
    if abs(model[joint]) < _LEAST:
        return Item(
            label,
            False,
            f"{JOINTS[farthest]} moved instead: two servos have each other's id or the wrong joint "
            "was moved; set ids with `lerobot-setup-motors`",
        )
    if model[joint] < 0:
        return Item(
            label,
            False,
            f"{seen}: the model turns the other way; let `so101_robobase robot align joints` "
            "measure it, or calibrate again with `lerobot-calibrate`",
        )
    return Item(label, True, seen)
