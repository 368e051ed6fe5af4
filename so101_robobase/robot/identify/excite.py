"""Excitations on the arm: the motions that `robot identify` fits the model's servos to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from so101_robobase.robot.identify.fit import HOME
from so101_robobase.robot.loop.arm import Arm
from so101_robobase.robot.loop.arm_loop import RELEASE, ArmLoop, Ending, Watchdog
from so101_robobase.robot.person.hints import REAL_ARM, OperatorHints
from so101_robobase.robot.person.keys import Keys, no_keys
from so101_robobase.robot.recording.episode_logger import EpisodeLogger

_REST = 50  # ticks, 1 s: an episode begins at rest
_QUIT = "q"


@dataclass
class Excited(Ending):
    """How the recording of excitations ended."""

    episodes: int = 0  # played to their end and kept


class Excite:
    """Plays excitations on `arm` through its safety filter and keeps what its joints did.

    What is kept as commanded is what the servos were sent. An episode that is cut short is not
    kept; those before it are.

    Args:
        excitations: of each episode the targets (T, 6) rad, one per control tick, from `HOME`.
        logger: keeps every control tick.
        on_stop: `RELEASE` or `HOLD`, what to do with the arm where a fault or Esc ends it.
        start_watchdog: called before the arm is connected.
        keys: Esc stops at once, q goes slowly back and ends.
        say: prints a line for the person.
        hints: what that person is told to do with this arm.
    """

    def __init__(
        self,
        arm: Arm,
        excitations: Sequence[np.ndarray],
        logger: EpisodeLogger,
        on_stop: str = RELEASE,
        start_watchdog: Callable[[], Watchdog] | None = None,
        keys: Keys = no_keys,
        say: Callable[[str], object] = print,
        hints: OperatorHints = REAL_ARM,
    ):
        self.arm = arm
        self._excitations = excitations
        self._logger = logger
        self._loop = ArmLoop(arm, on_stop, start_watchdog, keys, hints)
        self._say = say
        self._quit = False
        self._logged = -np.inf  # s of the loop's clock, of the last reading that was kept

    def run(self) -> Excited:
        """All episodes. However it ends, the arm is released or held, and the log says which.

        Raises UserError where the arm could not be connected; nothing has moved by then.
        """
        result = Excited()
        self._loop.run(lambda: self._play_all(result), result)
        return result

    def _play_all(self, result: Excited) -> None:
        for number, targets in enumerate(self._excitations):
            self._loop.move_to(np.array(HOME))
            for _ in range(_REST):
                self._tick()
            if self._quit:
                return
            self._say(f"episode {number + 1} of {len(self._excitations)}")
            self.arm.events.add("episode", number=number)
            self._logger.begin(number)
            complete = False
            try:
                complete = self._play(targets)
            finally:
                self._logger.end(complete)
                self.arm.events.add("episode_over", complete=complete)
            if self._logger.failure is not None:
                result.stopped = self._logger.failure
                return
            if not complete:
                return
            result.episodes += 1

    def _play(self, targets: np.ndarray) -> bool:
        """One episode; whether it came to its end."""
        for target in targets:
            while not self._tick():
                self._log()  # the servos keep the last command
            if self._quit:
                return False
            self.arm.send(target)
            self._log()
        return True

    def _tick(self) -> bool:
        """One control tick; may the arm be moved?"""
        may_move = self._loop.tick()
        self._quit |= self._loop.key == _QUIT
        return may_move

    def _log(self) -> None:
        if self.arm.time > self._logged:  # else there was no answer
            self._logger.tick(self.arm.time, self.arm.joint_pos, self.arm.command)
            self._logged = self.arm.time
