"""What happens around the arm: who puts the cube down, and who knows whether the task was done."""

from typing import Protocol

from so101_robobase.robot.simulated.body import Body


class Workcell(Protocol):
    """The table in front of the arm."""

    asks: bool
    """Whether a person prepares and judges, so that the loop waits for keys."""

    def prepare(self, episode: int) -> None:
        """Put the cube down for episode `episode` (from 0)."""

    def succeeded(self) -> bool | None:
        """Whether the task was done in this episode; None: only a person can tell."""


class AttendedWorkcell:
    """A real table: a person puts the cube down and says what came of it."""

    asks = True

    def prepare(self, episode: int) -> None:
        """The loop asks the person."""

    def succeeded(self) -> bool | None:
        return None


class SimulatedWorkcell:
    """The table of a simulated body; cubes lie as in evaluation episodes from `seed`."""

    asks = False

    def __init__(self, body: Body, seed: int):
        self._body, self._seed = body, seed

    def prepare(self, episode: int) -> None:
        self._body.place_cube(self._seed + episode)

    def succeeded(self) -> bool:
        return self._body.succeeded
