"""One policy step in one line, for a person who goes through a rollout step by step."""

from collections.abc import Sequence

import numpy as np

from so101_robobase.arm.alignment import GRIPPER

_NAMES = ("pan", "lift", "elbow", "wrist", "roll", "gripper")
_WORTH_TELLING = 0.1  # degrees or percent by which limits changed a joint


def step_line(
    step: int,
    before: np.ndarray,
    wanted: np.ndarray,
    sent: np.ndarray,
    limited: Sequence[str],
    dry: bool = False,
) -> str:
    """What step `step` (from 1) does: where each joint is and is sent, and what limits changed.

    Args:
        before: (6,) degrees, of the gripper 0 (closed) to 100 (open): measured.
        wanted: (6,) likewise, before the limits.
        sent: (6,) likewise, after them.
        limited: names of the limits that changed something.
        dry: nothing is sent.
    """
    parts = []
    for joint, name in enumerate(_NAMES):
        unit = "%" if joint == GRIPPER else ""
        part = f"{name} {before[joint]:.1f}>{sent[joint]:.1f}{unit}"
        if abs(wanted[joint] - sent[joint]) >= _WORTH_TELLING:
            part += f" (wanted {wanted[joint]:.1f})"
        parts.append(part)
    said = f"step {step}{', not sent' if dry else ''}: {'  '.join(parts)}"
    return f"{said}; limited by {', '.join(limited)}" if limited else said
