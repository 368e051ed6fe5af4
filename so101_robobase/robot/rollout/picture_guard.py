"""Between camera and policy: only pictures that can be believed are acted on, the others count."""

from collections import deque

import numpy as np

from robobase.errors import UserError
from so101_robobase.robot.loop.arm import Arm
from so101_robobase.robot.person.hints import REAL_ARM, OperatorHints
from so101_robobase.robot.rollout.picture import REMEDIES, Flaw, Picture
from so101_robobase.robot.rollout.picture_stream import PictureStream

_MEMORY = 100  # readings of the joints, 2 s
_AT_REST = 0.005  # rad: three steps of an encoder
_MOVED = 0.05  # rad: no picture stays the same over that much
_MOVED_UNSEEN = 0.2  # rad: class ids alone stayed the same over 0.07
_PATIENCE = 2.0  # s, for a camera's first good picture
_POLL = 0.05  # s


class PictureGuard:
    """Takes pictures from `stream`; tells the monitor of `arm`, and its log, what they are worth.

    A picture that is the same as one before is frozen where the arm has moved between the two; of
    an arm at rest a simulated camera gives many that are alike.

    Attributes:
        flawed: how many pictures had which flaw.
    """

    def __init__(self, stream: PictureStream, arm: Arm, hints: OperatorHints = REAL_ARM):
        self._stream, self._arm, self._hints = stream, arm, hints
        self._poses: deque[tuple[float, np.ndarray]] = deque(maxlen=_MEMORY)
        self._good: Picture | None = None
        self._newest: float | None = None  # when the picture that was judged last was taken
        self._same_since: float | None = None
        self._pose = np.zeros(0)  # (6,) rad, when today's pixels were first seen
        self._left = 0.0  # s, when the arm was last seen in that pose
        self.flawed: dict[str, int] = {}

    def await_good(self) -> None:
        """Wait until there is one, before the arm is connected. Raises UserError if none comes."""
        ends = self._arm.clock.now() + _PATIENCE
        while (flaw := self._stream.latest().flaw) is not None:
            if self._arm.clock.now() >= ends:
                remedy = REMEDIES[flaw] if self._hints is REAL_ARM else self._hints.line
                raise UserError(f"the camera's pictures are {flaw}: {remedy}")
            self._arm.clock.wait_until(self._arm.clock.now() + _POLL)

    def forget(self) -> None:
        """Another episode: the arm has moved while nobody looked."""
        self._poses.clear()
        self._good = self._newest = self._same_since = None

    def look(self) -> Picture:
        """The newest good picture; its time is -inf where there is none yet."""
        self._poses.append((self._arm.time, self._arm.joint_pos.copy()))
        picture = self._stream.latest()
        if picture.time != self._newest:
            self._newest = picture.time
            self._judge(picture)
        return self._good or picture._replace(time=-np.inf)

    def _judge(self, picture: Picture) -> None:
        monitor = self._arm.monitor
        flaw = picture.flaw or (Flaw.FROZEN if self._is_frozen(picture) else None)
        if flaw is None:
            self._good = picture
            monitor.on_frame(picture.time)
            return
        self.flawed[flaw] = self.flawed.get(flaw, 0) + 1
        self._arm.events.add("bad_frame", flaw=str(flaw), time_taken=round(picture.time, 4))
        last_good = self._left if flaw is Flaw.FROZEN else None
        monitor.on_bad_frame(picture.time, f"the camera's pictures are {flaw}", last_good)

    def _is_frozen(self, picture: Picture) -> bool:
        if picture.same_since is None:
            return False
        pose = self._pose_at(picture.time)
        moved = 0.0
        if picture.same_since != self._same_since:
            self._same_since, self._pose = picture.same_since, pose
        else:
            moved = float(np.abs(pose - self._pose).max())
        if moved <= _AT_REST:
            self._left = picture.time
        ids_alone = picture.frame is None and len(picture.picture) == 1
        return moved > (_MOVED_UNSEEN if ids_alone else _MOVED)

    def _pose_at(self, time: float) -> np.ndarray:
        """Where the joints were measured last before `time`."""
        before = [pose for measured, pose in self._poses if measured <= time]
        return before[-1] if before else self._poses[0][1]
