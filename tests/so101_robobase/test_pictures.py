"""Claims about the pictures that people see."""

import numpy as np
import pytest

from so101_robobase.vision import pictures
from so101_robobase.vision.observation import CLASSES, PALETTE


def _tile(value, size=8):
    return np.full((size, size, 3), value, np.uint8)


def test_four_tiles_make_two_rows_in_reading_order():
    picture = pictures.grid([_tile(value) for value in (1, 2, 3, 4)])
    assert picture.shape == (16, 16, 3)
    assert [picture[y, x, 0] for y, x in ((0, 0), (0, 15), (15, 0), (15, 15))] == [1, 2, 3, 4]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_other_number_of_tiles_makes_a_row(count):
    picture = pictures.grid([_tile(value) for value in range(count)])
    assert picture.shape == (8, 8 * count, 3)
    assert picture[0, ::8, 0].tolist() == list(range(count))


def test_panels_stack_beside_a_square_of_cameras_and_extend_a_row():
    square, row = pictures.grid([_tile(1)] * 4), pictures.grid([_tile(1)] * 2)
    two = [_tile(7), _tile(9)]
    assert pictures.beside(square, two).shape == (16, 24, 3)
    assert pictures.beside(row, two).shape == (8, 32, 3)
    assert pictures.beside(square, [_tile(7)]).shape == (16, 24, 3)
    three = pictures.beside(square, [*two, _tile(11)])
    assert [three[y, x, 0] for y, x in ((0, 16), (8, 16), (0, 24))] == [7, 9, 11]
    assert pictures.beside(row, []) is row


def test_segmentation_shows_each_class_in_its_colour_and_enlarges_exactly():
    ids = np.array([[0, 1], [3, 5]], np.uint8)
    picture = pictures.segmentation(ids, 4)
    for y, x in np.ndindex(4, 4):
        assert (picture[y, x] == PALETTE[ids[y // 2, x // 2]]).all()


def test_class_colours_differ_from_each_other():
    assert len(np.unique(PALETTE, axis=0)) == len(PALETTE) > len(CLASSES)


def test_near_pixels_are_brighter_than_far_ones():
    picture = pictures.disparity(np.array([[0, 128, 255]] * 3, np.uint8), 3)
    brightness = picture[1].astype(int).sum(axis=-1)
    assert brightness[0] < brightness[1] < brightness[2]


@pytest.mark.parametrize(
    ("kind", "channels", "count"),
    [("rgb", 3, 1), ("seg", 1, 1), ("seg_depth", 2, 2), ("state", 1, 0)],
)
def test_each_observation_kind_gives_its_panels(kind, channels, count):
    frame = np.zeros((channels, 84, 84), np.uint8)
    panels = pictures.observation_panels(frame, kind, 256)
    assert [panel.shape for panel in panels] == [(256, 256, 3)] * count


def test_legend_shows_the_colour_of_every_class():
    panel = pictures.observation_panels(np.zeros((1, 84, 84), np.uint8), "seg", 256)[0]
    for colour in PALETTE[: len(CLASSES)]:
        assert (panel == colour).all(axis=-1).any()


@pytest.mark.parametrize("size", [64, 240, 256, 500, 1280])
def test_legends_leave_nine_tenths_of_a_panel_as_the_policy_saw_it(size):
    frame = np.full((2, 84, 84), 3, np.uint8)
    for panel in pictures.observation_panels(frame, "seg_depth", size):
        assert panel.shape == (size, size, 3)
        middle = panel[26 : int(0.89 * size)]  # between the caption and the legend
        assert (np.ptp(middle, axis=(0, 1)) == 0).all()


def test_drawing_leaves_its_input_alone():
    tile = _tile(50, 64)
    pictures.caption(tile, "wrist_cam")
    assert (tile == 50).all()


def test_long_text_is_made_small_enough_for_a_narrow_strip():
    narrow = pictures.strip(128, "episode 12 (success)  0.6 s  cube  1.5 cm")
    assert narrow.shape == (pictures.STRIP_HEIGHT, 128, 3)
    assert narrow.max() > 100
    assert narrow[:, -6:].max() < 100  # nothing is cut off at the edge
