import dataclasses

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.perception.segmentation import config as configuration
from so101_robobase.perception.segmentation.augmentation import AugmentationConfig, augment
from so101_robobase.perception.segmentation.losses import IGNORED

COLOURS = np.array(
    [(0, 0, 0), (60, 0, 0), (0, 90, 0), (0, 0, 200), (200, 100, 0), (90, 90, 250)], np.uint8
)


@pytest.fixture(scope="module")
def full() -> AugmentationConfig:
    return configuration.checked(configuration.settings("home")).augmentation


@pytest.fixture
def geometry(full) -> AugmentationConfig:
    """Everything that moves pixels, nothing that changes their colours."""
    return dataclasses.replace(
        full, brightness=0.0, contrast=(1.0, 1.0), gamma=(1.0, 1.0), white_balance=0.0,
        colour_probability=0.0, blur_probability=0.0, noise_probability=0.0,
        jpeg_probability=0.0, cutout_probability=0.0,
    )  # fmt: skip


@pytest.fixture
def labelled() -> tuple[np.ndarray, np.ndarray]:
    ids = np.full((192, 256), 2, np.uint8)
    ids[:60] = 1
    ids[90:120, 110:140] = 3
    ids[70:180, 60:90] = 5
    ids[70:180, 160:190] = 4
    return COLOURS[ids], ids


def test_the_same_draw_gives_the_same_variation_and_another_draw_another(full, labelled):
    first, again, other = (
        augment(*labelled, full, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


def test_inputs_stay_as_they_were(full, labelled):
    picture, ids = (array.copy() for array in labelled)
    for seed in range(20):
        augment(*labelled, full, np.random.default_rng(seed))
    np.testing.assert_array_equal(labelled[0], picture)
    np.testing.assert_array_equal(labelled[1], ids)


def test_switched_off_it_cuts_the_centre_out(full, labelled):
    off = dataclasses.replace(full, enabled=False, crop=(128, 128))
    picture, ids = augment(*labelled, off, np.random.default_rng(0))
    np.testing.assert_array_equal(picture, labelled[0][32:160, 64:192])
    np.testing.assert_array_equal(ids, labelled[1][32:160, 64:192])


def test_labels_move_with_their_pixels(geometry, labelled):
    for seed in range(20):
        picture, ids = augment(*labelled, geometry, np.random.default_rng(seed))
        known = ids != IGNORED
        expected = COLOURS[np.where(known, ids, 0)]
        same = (np.abs(picture.astype(int) - expected).max(-1) <= 2) | ~known
        assert same.mean() > 0.95  # all but the mixed colours along edges


def test_what_lies_outside_the_frame_is_labelled_as_unknown(geometry, labelled):
    small = dataclasses.replace(geometry, scale=(0.5, 0.5), rotation=0.0)
    _, ids = augment(*labelled, small, np.random.default_rng(0))
    assert 0.2 < (ids == IGNORED).mean() < 0.8


def test_fingers_never_swap_sides(full, labelled):
    for seed in range(50):
        _, ids = augment(*labelled, full, np.random.default_rng(seed))
        moving, static = (np.nonzero(ids == k)[1] for k in (5, 4))
        if len(moving) and len(static):
            assert moving.mean() < static.mean()


def test_cut_out_patches_are_labelled_as_unknown(geometry, labelled):
    cut = dataclasses.replace(geometry, cutout_probability=1.0, scale=(1.0, 1.0), rotation=0.0)
    _, ids = augment(*labelled, cut, np.random.default_rng(3))
    assert (ids == IGNORED).any()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scale": (0.0, 1.0)}, "scale"),
        ({"blur": (2.0, 1.0)}, "blur"),
        ({"jpeg_probability": 1.5}, "jpeg_probability"),
    ],
)
def test_impossible_ranges_are_named(full, change, named):
    with pytest.raises(UserError, match=named):
        dataclasses.replace(full, **change)
