"""`so101_robobase robot emulator hand`: a hand that moves an emulated arm without torque."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robobase.errors import UserError
from so101_robobase.arm.joints import JOINTS
from so101_robobase.base.arguments import add_number

if TYPE_CHECKING:
    import numpy as np

EXAMPLE = "so101_robobase robot emulator hand --joint elbow_flex --by 20"

_THERE = 3.0  # degrees, or of 0 to 100


def configure(parser: argparse.ArgumentParser, link: str) -> None:
    """Adds the command's arguments; `link` is where emulators are by default."""
    parser.description = (
        f"{parser.description} It holds the whole arm until torque comes on or --release. Degrees "
        "are the servos' own; the gripper's 0 to 100 are closed to open."
    )
    parser.epilog = f"example: {EXAMPLE}"
    parser.add_argument(
        "--link", type=Path, default=Path(link), help="of the emulator (default: %(default)s)"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--joint", choices=JOINTS, help="with --to or --by")
    what.add_argument("--pose", metavar="NAME", help="one of `robot align joints`, such as ahead")
    what.add_argument("--release", action="store_true", help="let go: the arm sinks down")
    far = parser.add_mutually_exclusive_group()
    turn: dict[str, Any] = {"type": float, "metavar": "DEGREES"}
    add_number(far, "--to", -360, 360, "where the joint goes", **turn)
    add_number(far, "--by", -360, 360, "how far it goes from where it is", **turn)
    add_number(parser, "--seconds", 0.1, 60, "that it takes", 1.5, type=float, metavar="S")


def run(args: argparse.Namespace) -> int:
    """Moves the joints and says where they are then."""
    if (args.joint is None) != (args.to is None and args.by is None):
        raise UserError("--joint goes with --to or --by, and those with --joint")
    import time

    from so101_robobase.arm.alignment import Alignment, Units
    from so101_robobase.robot.emulator.attach import Emulator
    from so101_robobase.sim.scene import build_scene

    with Emulator(args.link) as emulator:
        if args.release:
            emulator.ask("release_hand")
            return 0
        joint_range = build_scene().model.actuator_ctrlrange
        units = Units(Alignment(), joint_range)
        present = units.to_servo(emulator.state().qpos[: len(JOINTS)])
        goals = _goals(args, present)
        asked = present.copy()
        for name, angle in goals.items():
            asked[JOINTS.index(name)] = angle
        wanted = units.to_model(asked)
        for joint, name in enumerate(JOINTS):
            low, high = joint_range[joint]
            if name in goals and not low - 1e-3 <= wanted[joint] <= high + 1e-3:
                ends = [units.to_servo(joint_range[:, end])[joint] for end in (0, 1)]
                raise UserError(f"{name} goes from {min(ends):.0f} to {max(ends):.0f}")
        emulator.ask(
            "hand",
            goals={name: float(wanted[JOINTS.index(name)]) for name in goals},
            seconds=args.seconds,
        )
        time.sleep(args.seconds + 0.2)
        there = units.to_servo(emulator.state().qpos[: len(JOINTS)])
        off = [name for name in goals if abs(there[JOINTS.index(name)] - goals[name]) > _THERE]
        if off:
            print(f"something is in the way of {', '.join(off)}, such as the table")
        print("  ".join(f"{name} {angle:.1f}" for name, angle in zip(JOINTS, there, strict=True)))
    return 0


def _goals(args: argparse.Namespace, present: np.ndarray) -> dict[str, float]:
    """Joint -> servo units. Raises UserError for a pose that nobody knows."""
    from so101_robobase.robot.align.joint_fit import OPEN, POSES

    if args.joint is not None:
        here = float(present[JOINTS.index(args.joint)])
        return {args.joint: args.to if args.to is not None else here + args.by}
    poses = {pose.name: pose for pose in POSES}
    if args.pose not in poses:
        raise UserError(f"--pose {args.pose} is unknown; known: {', '.join(poses)}")
    pose = poses[args.pose]
    gripper = 100.0 if pose.gripper == OPEN else 0.0
    return dict(zip(JOINTS, (*pose.angles, gripper), strict=True))
