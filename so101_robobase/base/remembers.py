"""What goes on from one step to the next, and comes back with a snapshot."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np


class Remembers:
    """Saves and restores arrays, whose first axis is that of the members."""

    remembered: ClassVar[Mapping[str, str]]
    """Name in the state -> attribute."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of everything remembered."""
        return {name: np.array(getattr(self, key)) for name, key in self.remembered.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a `state_dict`, which may hold more, bit for bit."""
        for name, key in self.remembered.items():
            getattr(self, key)[:] = state[name]
