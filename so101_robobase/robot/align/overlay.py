"""The simulated wrist view drawn over the real one, and the camera pose that makes them agree."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robobase.errors import UserError
from robobase.reading import read_json
from so101_robobase.arm.alignment import CameraPose, Units
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.base.cma_es import CMAES
from so101_robobase.base.files import inside, written_whole
from so101_robobase.robot.align.joint_fit import read_patiently, torque_off
from so101_robobase.robot.loop.driver import Driver
from so101_robobase.sim.appearance import Look
from so101_robobase.sim.dressing import rotation
from so101_robobase.sim.renderer import make_renderer
from so101_robobase.sim.scene import Scene, SceneConfig
from so101_robobase.vision.observation import PALETTE, ClassId, colorize_ids
from so101_robobase.vision.picture_files import read_mask, read_picture, write_png
from so101_robobase.vision.pictures import caption, grid

FRAMES_FILE = "frames.json"
_MOST_COLOURS = 2**29  # of all frames together: 580 of 640 x 480
_FURTHEST = 10_000.0  # servo units or rad
_SMALLEST = 16  # pixels

POPULATION = 16
GENERATIONS = 80
_SPREAD = (0.008, 2.0, 1.5)  # m, degrees, degrees of fovy: of the first candidates
_BLUR = (0.06, 0.012)  # of the picture's height, at the begin and at the end of a fit
_FIT_HEIGHT = 96  # pixels, of the pictures that are compared
_HIDDEN = (0.0, 0.0, -1.0)  # the cube, m: under the table
_IGNORED = (ClassId.CUBE,)  # nobody knows where the real one lies


@dataclass(frozen=True, eq=False)
class Frame:
    """One real picture.

    Attributes:
        picture: (H, W, 3) uint8 BGR.
        joint_pos: (6,) rad, when it was taken.
        ids: (H, W) uint8 class ids of it, where somebody or a network has found them.
    """

    picture: np.ndarray
    joint_pos: np.ndarray
    ids: np.ndarray | None = None


def nominal_pose() -> CameraPose:
    """The scene's own camera."""
    scene = SceneConfig()
    return CameraPose(scene.camera_pos, scene.camera_euler, scene.camera_fovy)


def load_frames(folder: Path, units: Units) -> list[Frame]:
    """Pictures of `folder` with the joints that its frames.json names.

    frames.json is a list of `{"picture": file, "servo": [6 servo units]}`, or `"joint_pos"` in
    rad in place of `"servo"`; `"ids"` names a grey PNG of class ids 0 to 5, if there is one.

    Raises:
        UserError: no such file, or one that is not as described.
    """
    path = folder / FRAMES_FILE
    one = '{"picture": file, "servo": [6 numbers]}'
    remedy = f"record with --port and --camera, or write a list of {one}"
    entries = read_json(path, what="frames", remedy=remedy)
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path} must be a list of frames with one at least")
    frames: list[Frame] = []
    for k, entry in enumerate(entries):
        frames.append(_frame(folder, entry, units, f"{path}, frame {k}"))
        if sum(frame.picture.size for frame in frames) > _MOST_COLOURS:
            raise UserError(f"{path}: pictures to frame {k} are too many or too large; take fewer")
    return frames


def save_frames(frames: Sequence[Frame], folder: Path) -> None:
    """Write what `load_frames` reads, joints in rad."""
    entries = []
    for k, frame in enumerate(frames):
        entry: dict[str, Any] = {"picture": f"{k:03d}.png", "joint_pos": frame.joint_pos.tolist()}
        write_png(folder / entry["picture"], frame.picture)
        if frame.ids is not None:
            entry["ids"] = f"{k:03d}_ids.png"
            write_png(folder / entry["ids"], frame.ids)
        entries.append(entry)
    with written_whole(folder / FRAMES_FILE) as partial:
        partial.write_text(json.dumps(entries, indent=1) + "\n")


def capture(
    driver: Driver,
    units: Units,
    grab: Callable[[], np.ndarray],
    ask: Callable[[str], object],
    count: int,
) -> list[Frame]:
    """`count` frames of an arm that a person moves by hand from one to the next, torque off.

    Args:
        driver: open; its torque is taken away first.
        grab: the newest picture (H, W, 3) uint8 BGR.
        ask: says what to do and returns when the person is ready, as `input`.

    Raises UserError where torque stays on or the arm does not answer.
    """
    torque_off(driver)
    frames = []
    for number in range(1, count + 1):
        ask(
            f"picture {number} of {count}: move the arm so that its camera sees the table from "
            "another side, once with the table's edge, the gripper now open, now closed; take the "
            "cube away. Hold still; Enter: "
        )
        picture = grab()
        frames.append(Frame(picture, units.to_model(read_patiently(driver))))
    return frames


ADJUSTMENTS = ("x", "y", "z", "rx", "ry", "rz", "f")
"""What can be adjusted: x right, y up, z backwards in mm; turns about them in degrees; fovy."""


def adjusted(pose: CameraPose, words: str) -> CameraPose:
    """`pose` changed by a line such as "x 2 rx -1 f 0.5", in the camera's own frame.

    Raises UserError for anything else.
    """
    parts = words.split()
    if len(parts) % 2:
        raise UserError(f"{words!r}: give pairs such as: x 2 rx -1 f 0.5")
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        if name not in ADJUSTMENTS:
            raise UserError(f"{name!r} is unknown; known: {', '.join(ADJUSTMENTS)}")
        try:
            amount = float(text)
        except ValueError as error:
            raise UserError(f"{text!r} is no number; give pairs such as: x 2 rx -1") from error
        pose = nudged(pose, name, amount)
    return pose


def nudged(pose: CameraPose, name: str, amount: float) -> CameraPose:
    """`pose` changed by `amount` in what `name`, one of `ADJUSTMENTS`, says; mm or degrees.

    Raises UserError where the field of view would no longer be one.
    """
    change = np.zeros(len(ADJUSTMENTS))
    change[ADJUSTMENTS.index(name)] = amount
    return moved(pose, _look(1e-3 * change[:3], np.deg2rad(change[3:6]), change[6]))


def moved(pose: CameraPose, look: Look) -> CameraPose:
    """`pose` with the camera offsets of `look`, which are in the camera's own frame."""
    frame = rotation(pose.euler)
    pos = np.array(pose.pos) + frame @ np.array(look.camera_position)
    turned = frame @ rotation(look.camera_rotation)
    return CameraPose(_triple(pos), _triple(_euler(turned)), float(pose.fovy + look.camera_fovy))


def offset(base: CameraPose, pose: CameraPose) -> Look:
    """The look with which a camera at `base` sees what one at `pose` sees: `moved`, inverted."""
    frame = rotation(base.euler)
    return _look(
        frame.T @ (np.array(pose.pos) - np.array(base.pos)),
        _euler(frame.T @ rotation(pose.euler)),
        pose.fovy - base.fovy,
    )


class Overlay:
    """Renders what the wrist camera of `scene` would see from other poses, (height, width) pixels.

    The scene's cube is not drawn.
    """

    def __init__(self, scene: Scene, height: int, width: int, renderer: str = "auto"):
        config = scene.config
        self._base = CameraPose(config.camera_pos, config.camera_euler, config.camera_fovy)
        self._empty = scene.model.qpos0.copy()
        self._empty[NUM_JOINTS : NUM_JOINTS + 3] = _HIDDEN
        self._renderer = make_renderer(renderer, scene, height, width)

    def ids(self, poses: Sequence[CameraPose], joint_pos: np.ndarray) -> np.ndarray:
        """Class ids (N, H, W) uint8 from N poses with the joints at `joint_pos` (N, 6) rad."""
        state = np.tile(self._empty, (len(poses), 1))
        state[:, :NUM_JOINTS] = joint_pos
        looks = [offset(self._base, pose) for pose in poses]
        return self._renderer.render(state, looks)[0]

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()


def outlined(picture: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """A copy of `picture` (H, W, 3) BGR with the outlines of the classes of `ids` (H, W)."""
    drawn = picture.copy()
    width = max(1, round(len(picture) / 160))
    line, halo = (np.ones((2 * k + 1, 2 * k + 1), np.uint8) for k in (width, width + 1))
    for value in (ClassId.TABLE, ClassId.STATIC_FINGER, ClassId.MOVING_FINGER):
        inside = (ids == value).astype(np.uint8)
        drawn[inside > cv2.erode(inside, halo)] = 0
        drawn[inside > cv2.erode(inside, line)] = PALETTE[value][::-1]
    return drawn


def comparison(frame: Frame, simulated: np.ndarray) -> np.ndarray:
    """Real view, simulated ids (H, W), both blended, and outlines: (2H, 2W, 3) uint8 BGR."""
    coloured = np.ascontiguousarray(colorize_ids(simulated)[..., ::-1])
    blended: np.ndarray = cv2.addWeighted(frame.picture, 0.6, coloured, 0.4, 0)
    tiles = (
        caption(frame.picture, "real"),
        caption(coloured, "simulated"),
        caption(blended.astype(np.uint8), "blended"),
        caption(outlined(frame.picture, simulated), "outlines of the simulated"),
    )
    return grid(tiles)


def draw_comparisons(
    scene: Scene, frames: Sequence[Frame], pose: CameraPose, folder: Path
) -> list[Path]:
    """A PNG per frame in `folder`: the real view and the simulated one from `pose`."""
    overlays: dict[tuple[int, ...], Overlay] = {}
    paths = []
    try:
        for k, frame in enumerate(frames):
            size = frame.picture.shape[:2]
            if size not in overlays:
                overlays[size] = Overlay(scene, *size)
            simulated = overlays[size].ids([pose], frame.joint_pos[None])[0]
            paths.append(folder / f"overlay_{k:03d}.png")
            write_png(paths[-1], comparison(frame, simulated))
    finally:
        for overlay in overlays.values():
            overlay.close()
    return paths


@dataclass(frozen=True)
class CameraFit:
    """A fitted camera; `before` and `after` are shares of pixels whose classes agree."""

    pose: CameraPose
    before: float
    after: float


def fit_camera(
    scene: Scene,
    frames: Sequence[Frame],
    start: CameraPose | None = None,
    fit_fovy: bool = True,
    generations: int = GENERATIONS,
    seed: int = 0,
    progress: Callable[[range], Any] = iter,
) -> CameraFit:
    """The pose from which the rendered classes agree best with those of `frames`.

    Both are blurred, strongly first, so that edges that do not meet yet attract one another; the
    cube's pixels do not count. Frames from several arm poses, with the table's edge in some and
    the gripper both open and closed, tell position, direction and field of view apart.

    Args:
        start: where to begin; default is the scene's camera.

    Raises:
        UserError: no frame has ids.
    """
    known = [(frame, frame.ids) for frame in frames if frame.ids is not None]
    if not known:
        raise UserError(
            "no picture has class ids to fit to; name masks in frames.json or give --segmentation"
        )
    start = start or nominal_pose()
    height, width = known[0][1].shape
    if any(ids.shape != (height, width) for _, ids in known):
        raise UserError("all pictures must have one size")
    small = (round(_FIT_HEIGHT * width / height), _FIT_HEIGHT)  # width first, as OpenCV has it
    real = np.stack([cv2.resize(ids, small, interpolation=cv2.INTER_NEAREST) for _, ids in known])
    joints = np.stack([frame.joint_pos for frame, _ in known])
    counts = ~np.isin(real, _IGNORED)
    unit = np.repeat([_SPREAD[0], np.deg2rad(_SPREAD[1]), _SPREAD[2]], [3, 3, 1])
    if not fit_fovy:
        unit = unit[:6]
    search = CMAES(np.zeros(len(unit)), 1.0, POPULATION, np.random.default_rng(seed))
    overlay = Overlay(scene, _FIT_HEIGHT, small[0])
    try:

        def rendered(values: np.ndarray) -> np.ndarray:
            """(N, F, H, W) ids for N candidates and F frames."""
            poses = [_candidate(start, row * unit) for row in values for _ in known]
            ids = overlay.ids(poses, np.tile(joints, (len(values), 1)))
            return ids.reshape(len(values), *real.shape)

        def agreement(value: np.ndarray) -> float:
            return float((rendered(value[None])[0] == real)[counts].mean())

        before = agreement(search.mean)
        for generation in progress(range(generations)):
            part = generation / max(generations - 1, 1)
            blur = _FIT_HEIGHT * _BLUR[0] * (_BLUR[1] / _BLUR[0]) ** part
            target = _soft(real, counts, blur)
            asked = search.ask()
            cost = [((_soft(ids, counts, blur) - target) ** 2).mean() for ids in rendered(asked)]
            search.tell(asked, np.array(cost))
        return CameraFit(_candidate(start, search.mean * unit), before, agreement(search.mean))
    finally:
        overlay.close()


def _candidate(start: CameraPose, values: np.ndarray) -> CameraPose:
    """`start` moved by position (3, m), rotation (3, rad) and, perhaps, fovy (degrees)."""
    fovy = float(np.clip(values[6], 5 - start.fovy, 170 - start.fovy)) if len(values) > 6 else 0.0
    return moved(start, _look(values[:3], values[3:6], fovy))


def _look(position: np.ndarray, turn: np.ndarray, fovy: float) -> Look:
    return Look(
        camera_position=_triple(position),
        camera_rotation=_triple(turn),
        camera_fovy=float(fovy),
    )


def _soft(ids: np.ndarray, counts: np.ndarray, blur: float) -> np.ndarray:
    """(F, H, W, classes) float32: how much of each class is near every pixel that counts."""
    one_hot = ((ids[..., None] == np.arange(len(ClassId))) & counts[..., None]).astype(np.float32)
    return np.stack([cv2.GaussianBlur(picture, (0, 0), blur) for picture in one_hot])


def _euler(matrix: np.ndarray) -> np.ndarray:
    """The inverse of `rotation`; the second angle lies between -pi/2 and pi/2."""
    x = np.arctan2(-matrix[1, 2], matrix[2, 2])
    y = np.arcsin(np.clip(matrix[0, 2], -1, 1))
    z = np.arctan2(-matrix[0, 1], matrix[0, 0])
    return np.array([x, y, z])


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _frame(folder: Path, entry: Any, units: Units, where: str) -> Frame:
    if not isinstance(entry, dict) or "picture" not in entry:
        raise UserError(f'{where}: must be {{"picture": file, "servo": [6 numbers]}}')
    unknown = set(entry) - {"picture", "servo", "joint_pos", "ids"}
    if unknown or ("servo" in entry) == ("joint_pos" in entry):
        raise UserError(f"{where}: give picture, one of servo and joint_pos, and perhaps ids")
    try:
        joints = np.asarray(entry.get("servo", entry.get("joint_pos")), np.float64)
    except (TypeError, ValueError, OverflowError):
        joints = np.empty(0)
    if joints.shape != (NUM_JOINTS,) or not (np.abs(joints) <= _FURTHEST).all():
        raise UserError(f"{where}: joints must be {NUM_JOINTS} numbers within {_FURTHEST:g}")
    picture = read_picture(inside(folder, entry["picture"]))
    if min(picture.shape[:2]) < _SMALLEST:
        raise UserError(f"{where}: a picture needs {_SMALLEST} pixels along each edge")
    ids = None
    if "ids" in entry:
        ids = read_mask(inside(folder, entry["ids"]))
        if ids.shape != picture.shape[:2] or ids.max() >= len(ClassId):
            raise UserError(
                f"{where}: {entry['ids']} must be a grey PNG of class ids 0 to {len(ClassId) - 1} "
                "with the picture's size"
            )
        ids = ids.astype(np.uint8)
    return Frame(picture, units.to_model(joints) if "servo" in entry else joints, ids)
