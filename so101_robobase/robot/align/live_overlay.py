"""The simulated wrist view drawn over the real one while a person moves the arm and the camera."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.alignment import CameraPose, Units
from so101_robobase.base.files import checked_output
from so101_robobase.robot.align.joint_fit import read_patiently, torque_off
from so101_robobase.robot.align.overlay import Overlay, nudged, outlined
from so101_robobase.robot.loop.driver import Driver
from so101_robobase.robot.person.keys import ESCAPE, Keys
from so101_robobase.robot.recording.display import VIEWER, import_rerun, open_recording
from so101_robobase.robot.rollout.policy_camera import Camera
from so101_robobase.sim.scene import Scene
from so101_robobase.vision.picture_files import write_png
from so101_robobase.vision.pictures import strip

HELP = """\
Keys; in capitals, the other way. All in the camera's own frame.
  x y z   move the camera to its right, up, back
  p w r   pitch, yaw, roll: turn it about x, y, z
  f       wider field of view
  + -     bigger, smaller steps
  u       undo        s  save        q, Esc  quit"""

STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""mm, of moves."""
DEGREES = 0.5
"""Of turns and field of view, per mm of a step."""

_FIRST_STEP = STEPS.index(1.0)
_MOVES = ("x", "y", "z")
_NAMES = {"x": "x", "y": "y", "z": "z", "p": "rx", "w": "ry", "r": "rz", "f": "f"}
_PNG_INTERVAL = 0.25  # s
_RERUN_INTERVAL = 0.1  # s
_JPEG_QUALITY = 85


class PoseEditor:
    """A camera pose that keys change; see `HELP`.

    Args:
        pose: where to begin.
        save: called with the pose to keep.

    Attributes:
        pose: the present one.
        saved: whether it is the one that was saved last.
        done: whether the person has left.
    """

    def __init__(self, pose: CameraPose, save: Callable[[CameraPose], object]):
        self.pose = pose
        self.done = False
        self._save = save
        self._safe = pose  # nothing is lost with what is there already
        self._written = False
        self._before: list[CameraPose] = []
        self._step = _FIRST_STEP
        self._message = ""

    @property
    def saved(self) -> bool:
        return self._written and self.pose == self._safe

    def press(self, key: str) -> None:
        """Do what `key` says; other keys do nothing."""
        warned, self._message = self._message, ""
        if key.lower() in _NAMES:
            self._nudge(_NAMES[key.lower()], 1.0 if key.islower() else -1.0)
        elif key in ("+", "="):
            self._step = min(self._step + 1, len(STEPS) - 1)
        elif key in ("-", "_"):
            self._step = max(self._step - 1, 0)
        elif key == "u" and self._before:
            self.pose = self._before.pop()
        elif key == "s":
            self._save(self.pose)
            self._safe, self._written, self._message = self.pose, True, "saved"
        elif key == "q":
            unsaved = "not saved: s saves, q again leaves"
            self.done = self.pose == self._safe or warned == unsaved
            self._message = "" if self.done else unsaved
        elif key == ESCAPE:  # also where the terminal has gone away
            self.done = True

    def status(self) -> str:
        """The pose in a line; mm and degrees."""
        pos = " ".join(f"{1e3 * value:.1f}" for value in self.pose.pos)
        euler = " ".join(f"{value:.1f}" for value in np.rad2deg(self.pose.euler))
        step = STEPS[self._step]
        note = f"  {self._message}" if self._message else ""
        return (
            f"pos {pos}  euler {euler}  fovy {self.pose.fovy:.1f}  "
            f"step {step:g} mm {DEGREES * step:g} deg{note}"
        )

    def _nudge(self, name: str, sign: float) -> None:
        amount = sign * STEPS[self._step] * (1.0 if name in _MOVES else DEGREES)
        try:
            pose = nudged(self.pose, name, amount)
        except UserError as error:
            self._message = str(error)
            return
        self._before.append(self.pose)
        self.pose = pose


class Screen(Protocol):
    """Where a person looks at pictures."""

    what: str
    """Where that is, in words."""

    def show(self, picture: np.ndarray) -> None:
        """`picture` (H, W, 3) uint8 BGR in place of the last; may be left out where many come."""

    def close(self) -> None:
        """No more pictures; the last one stays to be seen."""


class PngScreen:
    """A PNG that is written anew a few times a second, whole each time, for any viewer."""

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic):
        path = checked_output(path, [".png"])
        self.what = f"{path}, which any viewer that loads anew shows"
        self._path, self._now = path, now
        self._due = -np.inf
        self._waiting: np.ndarray | None = None

    def show(self, picture: np.ndarray) -> None:
        self._waiting = picture
        if self._now() >= self._due:
            self._write()
            self._due = self._now() + _PNG_INTERVAL

    def close(self) -> None:
        self._write()

    def _write(self) -> None:
        picture, self._waiting = self._waiting, None
        if picture is not None:
            write_png(self._path, picture, own=True)


class RerunScreen:
    """Rerun's window, or an .rrd file as `open_recording` takes it. Raises UserError."""

    def __init__(self, target: str = VIEWER, now: Callable[[], float] = time.monotonic):
        self.what = "Rerun's window" if target == VIEWER else target
        self._rerun = import_rerun("--live")
        import rerun.blueprint as rrb

        blueprint = rrb.Blueprint(rrb.Spatial2DView(origin="overlay"), collapse_panels=True)
        self._recording = open_recording("so101_align_camera", target, blueprint, "--live")
        self._now = now
        self._due = -np.inf

    def show(self, picture: np.ndarray) -> None:
        if self._now() < self._due:
            return
        self._due = self._now() + _RERUN_INTERVAL
        image = self._rerun.Image(picture[..., ::-1], color_model="RGB")
        # Static: the viewer keeps the newest alone.
        self._recording.log("overlay", image.compress(jpeg_quality=_JPEG_QUALITY), static=True)

    def close(self) -> None:
        self._recording.flush()
        self._recording.disconnect()


def live_overlay(
    scene: Scene,
    units: Units,
    driver: Driver,
    camera: Camera,
    editor: PoseEditor,
    screen: Screen,
    keys: Keys,
    say: Callable[[str], object],
) -> None:
    """Draw the outlines that a camera at `editor.pose` sees over what `camera` sees, until done.

    Torque is taken from the arm, which a person moves by hand.

    Args:
        scene: whose wrist camera is moved; without its cube.
        driver: open.
        camera: open; all its frames have one size.
        say: shows a status line in place of the last.

    Raises:
        UserError: torque stays on, the arm does not answer, or the camera has failed.
    """
    torque_off(driver)
    overlay: Overlay | None = None
    try:
        while not editor.done:
            while not editor.done and (key := keys()) is not None:
                editor.press(key)
            _, picture = camera.grab()
            joint_pos = units.to_model(read_patiently(driver))
            overlay = overlay or Overlay(scene, *picture.shape[:2])
            expected = overlay.ids([editor.pose], joint_pos[None])[0]
            status = editor.status()
            drawn = outlined(picture, expected)
            screen.show(np.vstack([drawn, strip(drawn.shape[1], status)]))
            say(status)
    finally:
        if overlay is not None:
            overlay.close()
