"""`--display`: what the policy sees, wants and does, in Rerun's viewer or in a file for it.

Paths in the recording: `camera`, `seen/picture` (class ids or colours), `seen/disparity`,
`joints/<joint>/sent` and `measured` (degrees, the gripper too), `action/<n>`, `critic/value`
(return), `timing/latency` and `frame_age` (ms), `log`. Timelines: `step`, counted over all
episodes, and `episode_time`.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.joints import JOINTS
from so101_robobase.base.files import checked_output
from so101_robobase.robot.recording.background import BackgroundListener, reason
from so101_robobase.robot.recording.records import PolicyTick
from so101_robobase.vision.observation import CLASSES, PALETTE

VIEWER = "viewer"
INSTALL = "pip install rerun-sdk"

_MOST_WAITING = 50  # steps; a picture older than two seconds is not worth showing
_JPEG_QUALITY = 80
_RRD = b"RRF"  # what Rerun's files begin with
_VERDICTS = {True: "success", False: "failure", None: "not judged"}


class RerunDisplay(BackgroundListener):
    """Shows episodes while they happen. A viewer that fails does not disturb the rollout.

    Args:
        target: "viewer" opens Rerun's window; a path that ends in .rrd is written instead, to be
            opened with `rerun <path>`.
        say: prints a line for the person.

    Raises:
        UserError: Rerun is missing, there is no screen, or the file cannot be written.
    """

    def __init__(
        self,
        target: str | Path = VIEWER,
        most_waiting: int = _MOST_WAITING,
        say: Callable[[str], object] = print,
    ):
        self._rerun = import_rerun()
        self._say = say
        self._step = 0
        self._recording = open_recording("so101_rollout", str(target), _blueprint())
        self._recording.log(
            "seen/picture",
            self._rerun.AnnotationContext(
                [
                    (number, name, tuple(int(part) for part in color))
                    for number, (name, color) in enumerate(zip(CLASSES, PALETTE, strict=False))
                ]
            ),
            static=True,
        )
        super().__init__("display", most_waiting)

    def _begin(self, episode: int) -> None:
        self._note(f"episode {episode + 1} begins")

    def _tick(self, tick: PolicyTick) -> None:
        rerun, log = self._rerun, self._recording.log
        self._recording.set_time("step", sequence=self._step)
        self._recording.set_time("episode_time", duration=tick.time)
        self._step += 1
        if tick.frame is not None:
            frame = rerun.Image(tick.frame[..., ::-1], color_model="RGB")
            log("camera", frame.compress(jpeg_quality=_JPEG_QUALITY))
        if len(tick.picture) == 3:
            log("seen/picture", rerun.Image(np.moveaxis(tick.picture, 0, -1), color_model="RGB"))
        else:
            log("seen/picture", rerun.SegmentationImage(tick.picture[0]))
            if len(tick.picture) == 2:
                log("seen/disparity", rerun.Image(tick.picture[1], color_model="L"))
        for kind, angles in (("measured", tick.joint_pos), ("sent", tick.joint_target)):
            for joint, angle in zip(JOINTS, np.rad2deg(angles), strict=True):
                log(f"joints/{joint}/{kind}", rerun.Scalars(angle))
        for number, value in enumerate(tick.action):
            log(f"action/{number}", rerun.Scalars(value))
        if tick.value is not None:
            log("critic/value", rerun.Scalars(tick.value))
        log("timing/latency", rerun.Scalars(1e3 * tick.latency))
        log("timing/frame_age", rerun.Scalars(1e3 * tick.frame_age))

    def _end(self, success: bool | None, keep: bool) -> None:
        self._note(f"episode over: {_VERDICTS[success]}{'' if keep else ', to be done again'}")

    def _close(self) -> None:
        self._recording.flush()
        self._recording.disconnect()  # ends a file properly
        if self.dropped:
            self._say(f"display: too slow for {self.dropped} of {self._step + self.dropped} steps")

    def _failed(self, error: Exception) -> None:
        self._say(f"display: stopped ({reason(error)})")

    def _note(self, text: str) -> None:
        self._recording.log("log", self._rerun.TextLog(text))


def has_screen() -> bool:
    """Whether a window can be opened here."""
    return sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))


def open_recording(name: str, target: str, blueprint: Any, option: str = "--display") -> Any:
    """Rerun's stream `name` to its window, for "viewer", or to a file whose name ends in .rrd.

    Raises UserError, which names the `option` of the command, where that cannot be had.
    """
    recording = import_rerun(option).RecordingStream(name)
    if target == VIEWER:
        if not has_screen():
            raise UserError(
                f"{option}: there is no screen here; write a file with {option} rollout.rrd "
                "and open it elsewhere with `rerun rollout.rrd`"
            )
        try:
            recording.spawn(default_blueprint=blueprint)
        except RuntimeError as error:
            raise UserError(f"{option}: Rerun does not start ({reason(error)})") from error
    elif target.endswith(".rrd"):
        path = checked_output(Path(target), own=False)
        try:
            if path.exists() and path.open("rb").read(len(_RRD)) not in (_RRD, b""):
                raise UserError(f"{option} {target} is there already and not Rerun's; name another")
            path.parent.mkdir(parents=True, exist_ok=True)
            recording.save(path, default_blueprint=blueprint)
        except (OSError, RuntimeError) as error:
            raise UserError(f"{option} cannot write {target} ({reason(error)})") from error
    else:
        raise UserError(f"{option} {target}: give nothing or a file whose name ends in .rrd")
    return recording


def import_rerun(option: str = "--display") -> Any:
    """Rerun; UserError, which names the `option` of the command, where it is missing."""
    try:
        import rerun
    except ImportError as error:
        raise UserError(f"{option} needs Rerun ({error}): {INSTALL}") from error
    return rerun


def _blueprint() -> Any:
    """Pictures to the left, joints in the middle, the rest to the right."""
    import rerun.blueprint as rrb

    pictures = rrb.Vertical(
        rrb.Spatial2DView(origin="camera", name="camera"),
        rrb.Horizontal(
            rrb.Spatial2DView(origin="seen/picture", name="what the policy sees"),
            rrb.Spatial2DView(origin="seen/disparity", name="disparity"),
        ),
    )
    joints = rrb.Grid(
        *(
            rrb.TimeSeriesView(origin=f"joints/{joint}", name=f"{joint} (degrees)")
            for joint in JOINTS
        ),
        grid_columns=2,
    )
    numbers = rrb.Vertical(
        rrb.TimeSeriesView(origin="critic", name="return that the critic expects"),
        rrb.TimeSeriesView(origin="timing", name="ms"),
        rrb.TimeSeriesView(origin="action", name="action"),
        rrb.TextLogView(origin="log", name="log"),
    )
    return rrb.Blueprint(rrb.Horizontal(pictures, joints, numbers), collapse_panels=True)
