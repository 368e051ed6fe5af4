"""`--record`: a rollout as a LeRobotDataset, with what was seen, wanted, sent and measured.

| feature                      | shape     | meaning                                              |
|------------------------------|-----------|------------------------------------------------------|
| observation.state            | (6,)      | measured joints, servo units                         |
| action                       | (6,)      | the command that was sent, after safety, same units  |
| observation.images.wrist     | (h, w, 3) | the camera's frame; video; only with a camera        |
| observation.images.ids       | (H, W, 3) | class ids in the colours of `PALETTE`; PNG           |
| observation.images.disparity | (H, W, 3) | disparity, thrice; PNG                               |
| observation.images.rgb       | (H, W, 3) | in place of both, for policies that see colours; PNG |
| model.joint_pos              | (6,)      | `observation.state` in the model's rad               |
| model.joint_target           | (6,)      | `action` in the model's rad                          |
| policy.action                | (A,)      | what the policy wanted, -1 to 1                      |
| policy.value                 | (1,)      | the return that its critic expects; nan: no critic   |
| timing                       | (3,)      | `PolicyTick.time`, `.frame_age` and `.latency`, s    |
| next.done                    | (1,) bool | on the last step                                     |
| next.success                 | (1,) bool | on the last step of a success                        |
| next.judged                  | (1,) bool | on the last step, if anybody judged the episode      |

PNG loses nothing: `policy_picture` gives back the very bytes that the policy saw. Made for
`lerobot-replay`, `lerobot-dataset-viz` and LeRobot's policies, which take states, images, actions.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.recording.background import MOST_WAITING, BackgroundListener, reason
from so101_robobase.robot.recording.dataset_store import DatasetStore
from so101_robobase.robot.recording.records import PolicyTick
from so101_robobase.vision.kinds import ObservationKind, Source
from so101_robobase.vision.observation import PALETTE, colorize_ids

STATE, ACTION = "observation.state", "action"
WRIST, IDS = "observation.images.wrist", "observation.images.ids"
DISPARITY, RGB = "observation.images.disparity", "observation.images.rgb"
JOINT_POS, JOINT_TARGET = "model.joint_pos", "model.joint_target"
POLICY_ACTION, POLICY_VALUE, TIMING = "policy.action", "policy.value", "timing"
DONE, SUCCESS, JUDGED = "next.done", "next.success", "next.judged"

_SHORTEST = 2  # steps; LeRobot cannot compute statistics of fewer frames
_KEYS = {Source.IDS: IDS, Source.DISPARITY: DISPARITY, Source.COLORS: RGB}
_IMAGE_AXES = ["height", "width", "channels"]
_MOTOR_NAMES = [f"{joint}.pos" for joint in JOINTS]  # as `so101_follower` calls them


class DatasetRecorder(BackgroundListener):
    """Adds the episodes that are kept to the LeRobotDataset in `root`.

    A killed recorder leaves a dataset of all earlier episodes. When recording fails, the next
    `begin` raises UserError; `tick`, `end` and `close` never do.

    Args:
        root: folder of the dataset; missing, empty, or one that was recorded alike.
        kind, size: of the policy's pictures, and their edge in pixels.
        num_actions: A, of the policy.
        fps: steps a second, as `records_per_second` has it.
        frame: (height, width) of the camera's frames; None: there is no camera.
        robot_type: LeRobot's name of the arm.
        say: prints a line for the person.

    Raises:
        UserError: LeRobot is missing, or episodes like these cannot be added to `root`.
    """

    def __init__(
        self,
        root: Path,
        kind: ObservationKind,
        size: int,
        num_actions: int,
        frame: tuple[int, int] | None = None,
        *,
        fps: int,
        robot_type: str = "so101_follower",
        task: str = "Lift the cube.",
        most_waiting: int = MOST_WAITING,
        say: Callable[[str], object] = print,
    ):
        self._store = DatasetStore(root, fps, features(kind, size, num_actions, frame), robot_type)
        self._kind = kind
        self._has_camera, self._task, self._say = frame is not None, task, say
        self._episode = 0
        self._held_back: dict[str, Any] | None = None  # whether it is the last is not yet known
        self._length = self._recorded = self._lost = 0
        super().__init__("dataset recorder", most_waiting)

    def begin(self, episode: int) -> None:
        """Episode `episode` (from 0) begins. Raises UserError if recording has failed."""
        if self.failure is not None:
            raise UserError(self._failure_line(self.failure))
        super().begin(episode)

    def _begin(self, episode: int) -> None:
        self._forget()
        self._episode = episode

    def _tick(self, tick: PolicyTick) -> None:
        if self._held_back is not None:
            self._store.add_frame(self._held_back)
        self._held_back = self._frame(tick)
        self._length += 1

    def _end(self, success: bool | None, keep: bool) -> None:
        lost, self._lost = self.dropped - self._lost, self.dropped
        if lost:
            self._say(f"episode {self._episode + 1}: recording was too slow for {lost} steps")
        if keep and self._length < _SHORTEST:
            self._say(f"episode {self._episode + 1} is too short to be recorded")
        elif keep and self._held_back is not None:
            self._held_back[DONE] = np.array([True])
            self._held_back[SUCCESS] = np.array([success is True])
            self._held_back[JUDGED] = np.array([success is not None])
            self._store.add_frame(self._held_back)
            self._store.save()
            self._recorded += 1
        self._forget()

    def _close(self) -> None:
        self._store.close()
        self._say(
            f"recorded {self._recorded} episode{'' if self._recorded == 1 else 's'} in "
            f"{self._store.root}, which now has {self._store.num_episodes} with "
            f"{self._store.num_frames} steps"
        )

    def _failed(self, error: Exception) -> None:
        self._say(self._failure_line(error))
        self._store.close()

    def _failure_line(self, error: Exception) -> str:
        # LeRobot hides errors of the disk and stumbles later on.
        why = "the disk is full" if self._store.is_full() else reason(error)
        return (
            f"recording to {self._store.root} failed ({why}); "
            f"the {self._store.num_episodes} episodes before are safe"
        )

    def _forget(self) -> None:
        if self._length:
            self._store.discard()
        self._held_back, self._length = None, 0

    def _frame(self, tick: PolicyTick) -> dict[str, Any]:
        nothing = np.array([False])
        frame = {
            "task": self._task,
            STATE: tick.measured.astype(np.float32),
            ACTION: tick.sent.astype(np.float32),
            JOINT_POS: tick.joint_pos.astype(np.float32),
            JOINT_TARGET: tick.joint_target.astype(np.float32),
            POLICY_ACTION: tick.action.astype(np.float32),
            POLICY_VALUE: np.array([np.nan if tick.value is None else tick.value], np.float32),
            TIMING: np.array([tick.time, tick.frame_age, tick.latency], np.float32),
            DONE: nothing,
            SUCCESS: nothing,
            JUDGED: nothing,
            **_images(self._kind, tick.picture),
        }
        if self._has_camera:
            assert tick.frame is not None, "this recorder was told of a camera"
            frame[WRIST] = tick.frame[..., ::-1]
        return frame


def features(
    kind: ObservationKind, size: int, num_actions: int, frame: tuple[int, int] | None
) -> dict[str, dict[str, Any]]:
    """LeRobot's description of what is recorded; arguments as of `DatasetRecorder`."""

    def numbers(names: list[str]) -> dict[str, Any]:
        return {"dtype": "float32", "shape": (len(names),), "names": names}

    def image(dtype: str, height: int, width: int) -> dict[str, Any]:
        return {"dtype": dtype, "shape": (height, width, 3), "names": _IMAGE_AXES}

    kinds: dict[str, dict[str, Any]] = {
        STATE: numbers(_MOTOR_NAMES),
        ACTION: numbers(_MOTOR_NAMES),
        JOINT_POS: numbers(list(JOINTS)),
        JOINT_TARGET: numbers(list(JOINTS)),
        POLICY_ACTION: numbers([f"action_{index}" for index in range(num_actions)]),
        POLICY_VALUE: numbers(["value"]),
        TIMING: numbers(["time", "frame_age", "latency"]),
        **{_KEYS[source]: image("image", size, size) for source in kind.sources},
    }
    for key in (DONE, SUCCESS, JUDGED):
        kinds[key] = {"dtype": "bool", "shape": (1,), "names": None}
    if frame is not None:
        kinds[WRIST] = image("video", *frame)
    return kinds


def policy_picture(item: dict[str, Any]) -> np.ndarray:
    """The picture (C, H, W) uint8 that the policy saw, from an item of the recorded dataset.

    `item` holds images as LeRobotDataset gives them: (3, H, W) float of 0 to 1.

    Raises ValueError where class ids have colours that are not in `PALETTE`.
    """
    images = {
        key: np.round(np.asarray(item[key]) * 255).astype(np.uint8)
        for key in (IDS, DISPARITY, RGB)
        if key in item
    }
    if IDS in images:
        images[IDS] = ids_from_colors(np.moveaxis(images[IDS], 0, -1))[None]
    if DISPARITY in images:
        images[DISPARITY] = images[DISPARITY][:1]
    return np.concatenate([images[key] for key in _KEYS.values() if key in images])


def ids_from_colors(colors: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 colours of `PALETTE` -> (...) uint8 class ids. ValueError for any other."""
    matches = (colors[..., None, :] == PALETTE).all(axis=-1)
    if not matches.any(axis=-1).all():
        raise ValueError("a picture of class ids holds colours that no class has")
    return matches.argmax(axis=-1).astype(np.uint8)


def _images(kind: ObservationKind, picture: np.ndarray) -> dict[str, np.ndarray]:
    """The policy's picture as pictures of three channels, the only ones that LeRobot stores."""
    images, first = {}, 0
    for source in kind.sources:
        part = np.moveaxis(picture[first : first + source.channels], 0, -1)
        first += source.channels
        if source is Source.IDS:
            part = colorize_ids(part[..., 0])
        images[_KEYS[source]] = np.broadcast_to(part, (*part.shape[:2], 3))
    return images
