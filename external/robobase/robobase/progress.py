"""How far a run is, and how long it took."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any

from robobase.resume_checks import expect, is_count, is_number
from robobase.utils import Timer

ON_STOP = "on_stop"
"""Of `snapshot_replay`: the snapshot that an interrupted run leaves holds the replay buffer."""

_CREDIT = re.compile(r"(\d{1,18})(?:/(\d{1,18}))?", re.ASCII)
_MOST_CREDIT = 1000  # gradient steps


@dataclass
class Progress:
    """What a run counts."""

    pretrain_step: int = 0
    iterations: int = 0  # steps of the vector environment
    env_steps: int = 0
    updates: int = 0
    update_credit: Fraction = Fraction(0)  # gradient steps that collected transitions paid for
    evaluations: int = 0
    evaluated_at: int | None = None  # env steps

    def state_dict(self) -> dict[str, Any]:
        return asdict(self) | {"update_credit": str(self.update_credit)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError for what `state_dict` does not give."""
        expect(isinstance(state, dict), "progress")
        for field in fields(self):
            value = state.get(field.name)
            if field.name == "update_credit":
                value = _credit(value)
            else:
                absent = field.name == "evaluated_at" and value is None
                expect(absent or is_count(value), f"progress: {field.name}")
            setattr(self, field.name, value)


def _credit(text: Any) -> Fraction:
    match = _CREDIT.fullmatch(text) if isinstance(text, str) else None
    expect(match is not None and int(match[2] or 1) > 0, "progress: update_credit")
    credit = Fraction(text)
    expect(credit < _MOST_CREDIT, "progress: update_credit")
    return credit


class RunTime:
    """Wall-clock time since a run began, over all its resumptions."""

    def __init__(self) -> None:
        self._timer = Timer()
        self._before = 0.0  # seconds that the runs took which this one continues

    def total(self) -> float:
        """Seconds."""
        return self._before + self._timer.total_time()

    def state_dict(self) -> float:
        return self.total()

    def load_state_dict(self, seconds: float) -> None:
        """Raises ValueError for what is no time."""
        expect(is_number(seconds) and seconds >= 0, "total_time")
        self._before = seconds
