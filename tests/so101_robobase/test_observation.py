import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robobase.errors import UserError
from so101_robobase.arm.model import SO101
from so101_robobase.vision import observation
from so101_robobase.vision.observation import CLASSES, PALETTE, ClassId, proprioception_names

NAMES = proprioception_names(SO101)


def test_class_ids_are_the_published_ones():
    assert CLASSES == (
        "unlabeled",
        "background",
        "table",
        "cube",
        "static_finger",
        "moving_finger",
    )
    assert [int(member) for member in ClassId] == list(range(6))
    assert len({tuple(colour) for colour in PALETTE}) == len(PALETTE) > 6


def test_the_crop_of_a_camera_frame_drops_80_columns_on_either_side():
    frame = np.arange(480 * 640).reshape(480, 640)
    np.testing.assert_array_equal(observation.center_crop(frame), frame[:, 80:560])
    colours = np.zeros((2, 480, 640, 3))
    assert observation.center_crop(colours, axes=(-3, -2)).shape == (2, 480, 480, 3)


@given(st.integers(1, 90), st.integers(1, 60), st.integers(0, 9))
def test_resizing_equals_opencvs_nearest_exact(edge, size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (edge, edge), np.uint8)
    expected = cv2.resize(image, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    # Where a new pixel's centre lies on the border of two old ones, OpenCV takes either.
    clear = (2 * np.arange(size) + 1) * edge % (2 * size) != 0
    clear = np.ix_(clear, clear)
    np.testing.assert_array_equal(observation.resize_nearest(image, size)[clear], expected[clear])


@pytest.mark.parametrize(("edge", "size"), [(480, 84), (84, 84), (100, 84), (480, 64)])
def test_resizing_equals_pytorchs_nearest_exact(edge, size):
    image = np.random.default_rng(0).integers(0, 256, (edge, edge), np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None, None], size=(size, size), mode="nearest-exact"
    )
    np.testing.assert_array_equal(observation.resize_nearest(image, size), expected[0, 0])


def test_disparity_is_the_inverse_of_depth_and_zero_for_nothing():
    depth = np.array([[0.1, 2.0], [np.inf, 0.5]], np.float32)
    expected = np.array([[10, 0.5], [0, 2]], np.float32)
    np.testing.assert_allclose(observation.disparity_from_depth(depth), expected)


def test_scaled_disparity_is_255_at_the_nearest_and_0_at_the_farthest_of_each_frame():
    disparity = np.array([[[1.0, 3.0], [2.0, 5.0]], [[-7.0, 0.0], [0.0, 0.0]]], np.float32)
    scaled = observation.scale_disparity(disparity)
    np.testing.assert_array_equal(scaled, [[[0, 128], [64, 255]], [[0, 255], [255, 255]]])


def test_scaled_disparity_ignores_unit_and_offset():
    disparity = np.random.default_rng(0).random((5, 5), np.float32)
    difference = observation.scale_disparity(disparity).astype(int) - observation.scale_disparity(
        40 * disparity + 3
    )
    assert abs(difference).max() <= 1


def test_a_frame_without_depth_differences_is_all_far():
    assert not observation.scale_disparity(np.full((3, 3), 7.0, np.float32)).any()


def test_seg_depth_of_a_frame_and_of_a_batch_agree():
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 6, (3, 480, 640), np.uint8)
    disparity = rng.random((3, 480, 640), np.float32)
    batch = observation.seg_depth(ids, disparity)
    assert batch.shape == (3, 2, 84, 84)
    assert batch.dtype == np.uint8
    for row in range(3):
        np.testing.assert_array_equal(observation.seg_depth(ids[row], disparity[row]), batch[row])
    np.testing.assert_array_equal(observation.seg(ids), batch[:, :1])


def test_the_scale_of_disparity_ignores_what_the_crop_cuts_off():
    ids = np.zeros((480, 640), np.uint8)
    disparity = np.ones((480, 640), np.float32)
    disparity[:, 320:] = 2
    expected = observation.seg_depth(ids, disparity)
    disparity[:, :80] = 1000
    np.testing.assert_array_equal(observation.seg_depth(ids, disparity), expected)


def test_seg_depth_refuses_pictures_that_do_not_match_or_are_not_finite():
    ids = np.zeros((84, 84), np.uint8)
    with pytest.raises(UserError, match="shape"):
        observation.seg_depth(ids, np.zeros((480, 640), np.float32))
    with pytest.raises(UserError, match="nan or inf"):
        observation.seg_depth(ids, np.full((84, 84), np.inf, np.float32))


def test_rgb_is_cropped_averaged_and_channel_first():
    frame = np.zeros((2, 480, 640, 3), np.uint8)
    frame[:, :, :80] = 255
    frame[:, :240, :, 0] = 200
    frame[1, :, :, 2] = 50
    picture = observation.rgb(frame)
    assert picture.shape == (2, 3, 84, 84)
    assert picture.flags.c_contiguous
    assert (picture[:, 0, :42] == 200).all()
    assert not picture[:, 0, 42:].any()
    assert [picture[0, 2].max(), picture[1, 2].min()] == [0, 50]
    small = np.random.default_rng(2).integers(0, 256, (84, 84, 3), np.uint8)
    np.testing.assert_array_equal(observation.rgb(small), small.transpose(2, 0, 1))


def test_proprioception_has_18_named_numbers_in_order():
    parts = [np.full((2, width), index, float) for index, width in enumerate((6, 6, 3, 3))]
    state = observation.proprioception(*parts)
    assert state.shape == (2, len(NAMES)) == (2, 18)
    assert state.dtype == np.float32
    np.testing.assert_array_equal(state[0], [0] * 6 + [1] * 6 + [2] * 3 + [3] * 3)
    assert NAMES[5] == "gripper.pos"
    assert NAMES[12:] == (
        "tcp.x",
        "tcp.y",
        "tcp.z",
        "tcp.roll",
        "tcp.pitch",
        "tcp.yaw",
    )
    assert not any("cube" in name for name in NAMES)
