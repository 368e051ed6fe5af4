"""Claims about the pictures that people see."""

import numpy as np
import pytest

from so101_robobase.evaluation import panels
from so101_robobase.observation import CLASSES, PALETTE


def _tile(value, size=8):
    return np.full((size, size, 3), value, np.uint8)


def test_four_tiles_make_two_rows_in_reading_order():
    picture = panels.grid([_tile(value) for value in (1, 2, 3, 4)])
    assert picture.shape == (16, 16, 3)
    assert [picture[y, x, 0] for y, x in ((0, 0), (0, 15), (15, 0), (15, 15))] == [1, 2, 3, 4]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_other_number_of_tiles_makes_a_row(count):
    picture = panels.grid([_tile(value) for value in range(count)])
    assert picture.shape == (8, 8 * count, 3)
    assert picture[0, ::8, 0].tolist() == list(range(count))


def test_panels_stack_beside_a_square_of_cameras_and_extend_a_row():
    square, row = panels.grid([_tile(1)] * 4), panels.grid([_tile(1)] * 2)
    two = [_tile(7), _tile(9)]
    assert panels.beside(square, two).shape == (16, 24, 3)
    assert panels.beside(row, two).shape == (8, 32, 3)
    assert panels.beside(row, []) is row


def test_segmentation_shows_each_class_in_its_colour_and_enlarges_exactly():
    ids = np.array([[0, 1], [3, 5]], np.uint8)
    picture = panels.segmentation(ids, 4)
    for y, x in np.ndindex(4, 4):
        assert (picture[y, x] == PALETTE[ids[y // 2, x // 2]]).all()


def test_class_colours_differ_from_each_other():
    assert len(np.unique(PALETTE, axis=0)) == len(CLASSES)


def test_near_pixels_are_brighter_than_far_ones():
    picture = panels.disparity(np.array([[0, 128, 255]] * 3, np.uint8), 3)
    brightness = picture[1].astype(int).sum(axis=-1)
    assert brightness[0] < brightness[1] < brightness[2]


@pytest.mark.parametrize(
    ("kind", "channels", "count"),
    [("rgb", 3, 1), ("seg", 1, 1), ("seg_depth", 2, 2), ("state", 1, 0)],
)
def test_each_observation_kind_gives_its_panels(kind, channels, count):
    frame = np.zeros((channels, 84, 84), np.uint8)
    pictures = panels.observation_panels(frame, kind, 256)
    assert [picture.shape for picture in pictures] == [(256, 256, 3)] * count


def test_legend_shows_the_colour_of_every_class():
    panel = panels.observation_panels(np.zeros((1, 84, 84), np.uint8), "seg", 256)[0]
    for colour in PALETTE:
        assert (panel == colour).all(axis=-1).any()


def test_drawing_leaves_its_input_alone():
    tile = _tile(50, 64)
    panels.caption(tile, "wrist_cam")
    assert (tile == 50).all()


def test_long_text_is_made_small_enough_for_a_narrow_strip():
    narrow = panels.strip(128, "episode 12 (success)  0.6 s  cube  1.5 cm")
    assert narrow.shape == (panels.STRIP_HEIGHT, 128, 3)
    assert narrow.max() > 100
    assert narrow[:, -6:].max() < 100  # nothing is cut off at the edge
