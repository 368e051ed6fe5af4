"""Nothing to see and nobody at the table, for tests of what the arm does."""

import numpy as np

from so101_robobase.robot.rollout.picture import Picture


class Nothing:
    """Sight of nothing, always new by `clock`."""

    def __init__(self, clock):
        self._clock = clock

    def start(self):
        pass

    def latest(self):
        return Picture(self._clock.now(), np.zeros((2, 84, 84), np.uint8), None)

    def close(self):
        pass


class Table:
    """A table on which nothing succeeds."""

    asks = False

    def prepare(self, episode):
        pass

    def succeeded(self):
        return False
