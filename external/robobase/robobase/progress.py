"""How far a run is: what the loop counts, its snapshots hold and its tables show."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

ON_STOP = "on_stop"
"""Of `snapshot_replay`: the snapshot that an interrupted run leaves holds the replay buffer."""


@dataclass
class Progress:
    """How far a run is."""

    pretrain_step: int = 0
    iterations: int = 0  # steps of the vector environment
    env_steps: int = 0
    updates: int = 0
    update_credit: Fraction = Fraction(0)  # gradient steps that collected transitions paid for
    evaluations: int = 0
    evaluated_at: int | None = None  # env steps

    def state_dict(self) -> dict[str, Any]:
        return asdict(self) | {"update_credit": str(self.update_credit)}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "Progress":
        return cls(**{**state, "update_credit": Fraction(state["update_credit"])})
