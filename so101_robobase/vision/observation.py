"""What the policy sees: classes, crop, resize, disparity and proprioception.

The simulator and the real robot make their observations with the functions of this one module.
Only numpy and OpenCV are needed here. Leading dimensions `...` are batch dimensions.
"""

from enum import IntEnum

import cv2
import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.model import ArmModel

IMAGE_SIZE = 84
"""Edge of the square pictures that the policy sees, pixels."""


class ClassId(IntEnum):
    """Meaning of the numbers in a segmentation picture."""

    UNLABELED = 0  # the arm's other parts, and whatever has no class of its own
    BACKGROUND = 1  # nothing within reach
    TABLE = 2
    CUBE = 3
    STATIC_FINGER = 4
    MOVING_FINGER = 5


CLASSES = tuple(member.name.lower() for member in ClassId)

PALETTE = np.array(
    [
        *((96, 96, 96), (20, 20, 30), (205, 190, 165), (220, 40, 40), (60, 130, 235)),
        *((250, 190, 40), (60, 200, 110), (190, 90, 220)),
    ],
    np.uint8,
)
"""(8, 3) colours in which people are shown the classes, a task's own behind `CLASSES`."""


def proprioception_names(arm: ArmModel) -> tuple[str, ...]:
    """Names of the numbers of `low_dim_state`, in order. The cube is not among them."""
    return (
        *(f"{joint}.pos" for joint in arm.joint_names),  # rad
        *(f"{joint}.vel" for joint in arm.joint_names),  # rad/s
        *(f"tcp.{axis}" for axis in ("x", "y", "z")),  # m, base frame
        *(f"tcp.{angle}" for angle in ("roll", "pitch", "yaw")),  # rad, base frame
    )


def center_crop(image: np.ndarray, axes: tuple[int, int] = (-2, -1)) -> np.ndarray:
    """View of the largest centred square of `image`; `axes` are its height and width.

    A 640x480 camera frame loses 80 columns on either side.
    """
    edge = min(image.shape[axis] for axis in axes)
    slices = [slice(None)] * image.ndim
    for axis in axes:
        start = (image.shape[axis] - edge) // 2
        slices[axis] = slice(start, start + edge)
    return image[tuple(slices)]


def resize_nearest(image: np.ndarray, size: int) -> np.ndarray:
    """(..., H, W) -> (..., size, size): the pixel under the centre of each new pixel.

    This is "nearest-exact" of PyTorch and OpenCV; no value appears that was not there.
    """
    height, width = image.shape[-2:]
    if (height, width) == (size, size):
        return image
    rows, columns = (
        ((2 * np.arange(size) + 1) * length) // (2 * size) for length in (height, width)
    )
    return image[..., rows[:, None], columns]


def disparity_from_depth(depth: np.ndarray) -> np.ndarray:
    """Perpendicular depth in metres (inf: nothing there) -> disparity 1/depth (0: nothing)."""
    return np.reciprocal(depth, dtype=np.float32)


def scale_disparity(disparity: np.ndarray) -> np.ndarray:
    """(..., H, W) disparity of any scale -> uint8, each frame's nearest 255, farthest 0.

    A frame of one single disparity becomes 0.
    """
    low = disparity.min(axis=(-2, -1), keepdims=True)
    span = disparity.max(axis=(-2, -1), keepdims=True) - low
    scale = np.divide(255, span, out=np.zeros_like(span), where=span > 0)
    return ((disparity - low) * scale + 0.5).astype(np.uint8)


def seg(ids: np.ndarray, size: int = IMAGE_SIZE) -> np.ndarray:
    """(..., H, W) class ids -> (..., 1, size, size) uint8 class ids."""
    return resize_nearest(center_crop(ids), size).astype(np.uint8, copy=False)[..., None, :, :]


def seg_depth(ids: np.ndarray, disparity: np.ndarray, size: int = IMAGE_SIZE) -> np.ndarray:
    """(..., H, W) class ids and disparity -> (..., 2, size, size) uint8.

    Channel 0 holds the class ids 0..5, channel 1 the disparity, scaled per frame. Disparity may
    have any unit and offset that grows with nearness, as that of a monocular depth model.
    Raises UserError if the two pictures differ in shape or a disparity is not finite.
    """
    if ids.shape != disparity.shape:
        raise UserError(
            f"class ids have shape {ids.shape} and disparity {disparity.shape}; "
            "both must be pictures of the same frames"
        )
    return np.concatenate([seg(ids, size), disparity_channel(disparity, size)], axis=-3)


def disparity_channel(disparity: np.ndarray, size: int = IMAGE_SIZE) -> np.ndarray:
    """(..., H, W) disparity -> (..., 1, size, size) uint8, scaled per frame; see `seg_depth`.

    Raises UserError if one is not finite.
    """
    resized = resize_nearest(center_crop(disparity), size).astype(np.float32, copy=False)
    if not np.isfinite(resized).all():
        raise UserError("disparity holds nan or inf; give finite values, 0 where nothing is seen")
    return scale_disparity(resized)[..., None, :, :]


def rgb(image: np.ndarray, size: int = IMAGE_SIZE) -> np.ndarray:
    """(..., H, W, 3) uint8 -> (..., 3, size, size) uint8, averaged over the area of each pixel."""
    square = center_crop(image, axes=(-3, -2))
    if square.shape[-3] != size:
        frames = square.reshape(-1, *square.shape[-3:])
        resized = [
            cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in frames
        ]
        square = np.stack(resized).reshape(*image.shape[:-3], size, size, 3)
    return np.ascontiguousarray(np.moveaxis(square, -1, -3))


def proprioception(
    joint_pos: np.ndarray, joint_vel: np.ndarray, tcp_pos: np.ndarray, tcp_rpy: np.ndarray
) -> np.ndarray:
    """(N, J) rad, (N, J) rad/s, (N, 3) m, (N, 3) rad -> (N, 2 J + 6) float32 `low_dim_state`."""
    return np.concatenate([joint_pos, joint_vel, tcp_pos, tcp_rpy], axis=-1, dtype=np.float32)


def colorize_ids(ids: np.ndarray) -> np.ndarray:
    """(..., H, W) class ids -> (..., H, W, 3) uint8 colours for people."""
    return PALETTE[ids]
