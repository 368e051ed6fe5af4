"""Which faults come when: read from a file, or drawn from a seed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robobase.errors import UserError
from robobase.reading import read_yaml
from so101_robobase.base.settings import from_mapping
from so101_robobase.robot.emulator.faults import CAMERA, JOINT, KINDS, SILENT, Fault

_ONE_SERVO = ("dead", "model", "firmware", "overload", "overcurrent", "angle", "overheat")


def load_schedule(path: Path) -> list[Fault]:
    """Read a YAML list of faults, each a mapping with the fields of `Fault`.

    Raises UserError if the file cannot be read or a fault is not one.
    """
    entries = read_yaml(path, what="fault schedule")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"fault schedule {path} must be a list of faults: - {{kind: drop, ...}}")
    return [make_fault(entry, f"{path}[{index}]") for index, entry in enumerate(entries)]


def make_fault(entry: dict, where: str = "fault") -> Fault:
    """A fault from plain containers. Raises UserError naming `where`."""
    if "kind" not in entry:
        known = ", ".join((*KINDS, *CAMERA, *JOINT, *SILENT))
        raise UserError(f"{where} has no kind; known: {known}")
    return from_mapping(Fault, entry, where)


def draw_schedule(
    seed: int, number: int, gap: float = 2.0, kinds: Sequence[str] = tuple(KINDS)
) -> list[Fault]:
    """`number` random faults, about `gap` s from one start to the next, each over before the next.

    All `kinds` come equally often, in random order. The same arguments give the same faults.
    """
    rng = np.random.default_rng(seed)
    faults: list[Fault] = []
    start = 0.0
    while len(faults) < number:
        for kind in rng.permutation(kinds):
            if len(faults) == number:
                break
            start += gap * float(rng.uniform(0.75, 1.25))
            faults.append(_draw(str(kind), start, 0.5 * gap, rng))
    return faults


def _draw(kind: str, start: float, longest: float, rng: np.random.Generator) -> Fault:
    one = kind in _ONE_SERVO or (kind not in ("unplug", "brown_out") and rng.random() < 0.5)
    servos = (int(rng.integers(1, 7)),) if one else None
    duration = round(float(longest * rng.uniform(0.05, 1)), 3)
    probability, count = 1.0, None
    if KINDS[kind].per_packet:
        if rng.random() < 0.5:
            count = int(rng.integers(1, 6))
        else:
            probability = round(float(rng.uniform(0.05, 1)), 3)
    value = {
        "delay": lambda: round(float(rng.uniform(0.01, 0.2)), 3),
        "corrupt": lambda: float(rng.integers(1, 9)),
        "truncate": lambda: float(rng.integers(0, 8)),
        "overheat": lambda: float(rng.integers(71, 120)),
        "low_voltage": lambda: round(float(rng.uniform(2, 3.9)), 1),
    }.get(kind, lambda: None)()
    return Fault(kind, servos, probability, count, round(start, 3), duration, value)
