"""Arguments that several `so101_robobase robot` commands have."""

import argparse
from pathlib import Path
from typing import Any

from so101_robobase.base.arguments import Input, add_frame_size, add_number

REAL, SIM, EMULATED = "real", "sim", "emulated"
"""Values of --robot."""


def add_arm(parser: argparse._ActionsContainer) -> None:
    """--port and --calibration."""
    add_port(parser)
    add_calibration(parser, action=Input, what="the file that lerobot-calibrate wrote")


def add_port(parser: argparse._ActionsContainer) -> None:
    """--port."""
    parser.add_argument("--port", help="serial port of the arm, such as /dev/ttyACM0")


def add_calibration(parser: argparse._ActionsContainer, **kwargs: Any) -> None:
    """--calibration; `kwargs` may say that it must be there already."""
    parser.add_argument(
        "--calibration",
        metavar="JSON",
        help="LeRobot's calibration file of this arm",
        **(kwargs or {"type": Path}),
    )


def add_camera(parser: argparse._ActionsContainer) -> None:
    """--camera, --camera_size and --camera_fps."""
    parser.add_argument("--camera", help="index or path of the wrist camera, such as 0")
    add_frame_size(parser, "--camera_size", "one that it delivers, in pixels", metavar="WxH")
    frames = "frames a second that it delivers"
    add_number(parser, "--camera_fps", 1, 1000, frames, 30, metavar="N")


def add_on_stop(parser: argparse._ActionsContainer) -> None:
    """--on_stop."""
    parser.add_argument(
        "--on_stop",
        choices=("release", "hold"),
        default="release",
        help="the arm after Esc, Ctrl-C or a fault: torque off, or on where it is; where this "
        "process dies, torque goes off in any case (default: %(default)s)",
    )
