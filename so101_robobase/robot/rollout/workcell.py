"""What happens around the arm: who puts the cube down, and who knows whether the task was done."""

from collections.abc import Sequence
from typing import Protocol

from robobase.errors import UserError
from so101_robobase.arm.control import CONTROL_PERIOD
from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.faults import JOINT, Fault
from so101_robobase.robot.simulated.body import Body
from so101_robobase.tasks.config import TaskConfig


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


class Mirror(Body):
    """Where the emulated arm and its cube are, to be looked at; of the thread that looks."""

    def __init__(self, config: TaskConfig):
        super().__init__(config)
        self._next: int | None = None
        self._began = 0.0  # s of the emulator's physics

    def change(self, seed: int) -> None:
        """Have the looks of episode `seed` from the next `follow` on; may come from any thread."""
        self._next = seed

    def follow(self, bus: EmulatedBus) -> None:
        """Go where the emulated arm is."""
        state = bus.state()
        if (seed := self._next) is not None:
            self._next = None
            self.place_cube(seed)
            self._began = state.simulated
        self.sim.qpos[0] = state.qpos
        seconds = max(0.0, state.simulated - self._began)
        self.sim.steps[0] = int(seconds / CONTROL_PERIOD)


class EmulatedWorkcell:
    """The table in the emulator; cube positions are those of evaluation episodes from `seed`."""

    asks = False

    def __init__(self, bus: EmulatedBus, mirror: Mirror, seed: int, faults: Sequence[Fault] = ()):
        self._bus, self._mirror, self._seed = bus, mirror, seed
        self._faults = [one for one in faults if one.kind not in JOINT]  # from the first episode on
        if of_joints := [one for one in faults if one.kind in JOINT]:
            bus.inject(*of_joints)  # now, for the test of the joints is before that

    def prepare(self, episode: int) -> None:
        seed = self._seed + episode
        try:
            self._bus.place_cube(seed)
            self._bus.inject(*self._faults)
        except RuntimeError as error:  # it has died
            raise UserError(str(error)) from error
        self._mirror.change(seed)
        self._faults.clear()

    def succeeded(self) -> bool:
        return self._bus.state().succeeded
