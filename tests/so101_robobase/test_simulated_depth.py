"""Claims about the stand-in for the depth network."""

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.sim.simulated_depth import SimulatedDepth, SimulatedDepthConfig
from so101_robobase.vision.observation import scale_disparity

RANGES = ("scale", "shift", "gamma", "smoothing", "edge_bleed", "bending", "noise")
NOTHING = dict.fromkeys(RANGES, (0.0, 0.0)) | {"scale": (1.0, 1.0), "gamma": (1.0, 1.0)}


def scene() -> np.ndarray:
    """(84, 84) disparity in 1/m: nothing above, a table below, a cube on it."""
    disparity = np.tile(np.linspace(1, 5, 84, dtype=np.float32)[:, None], (1, 84))
    disparity[:10] = 0
    disparity[40:56, 30:46] = 7
    return disparity


def only(**ranges) -> SimulatedDepth:
    """A stand-in that does one thing."""
    return SimulatedDepth(SimulatedDepthConfig(**(NOTHING | ranges)))


def test_without_mistakes_the_truth_comes_out():
    np.testing.assert_allclose(only().predict(scene()), scene(), atol=1e-5)


@pytest.mark.parametrize(
    "ranges", [{"scale": (0.5, 2.0)}, {"shift": (-0.5, 0.5)}, {"scale": (3, 3), "shift": (-1, -1)}]
)
def test_scale_and_shift_do_not_reach_the_policy(ranges):
    predicted = only(**ranges).predict(scene())
    assert np.abs(predicted - scene()).max() > 0.1
    levels = scale_disparity(predicted).astype(int) - scale_disparity(scene())
    assert np.abs(levels).max() <= 1


def test_gamma_keeps_the_order_of_distances():
    truth = np.sort(scene().ravel()).reshape(84, 84)
    predicted = only(gamma=(0.5, 0.5)).predict(truth).ravel()
    assert (np.diff(predicted) >= 0).all()
    assert np.abs(predicted - truth.ravel()).max() > 0.5


def test_near_things_bleed_over_far_ones_and_not_the_other_way():
    predicted = only(edge_bleed=(0.03, 0.03)).predict(scene())
    assert (predicted >= scene() - 1e-5).all()
    wider = (predicted > 6.9).sum(axis=1)[48]
    assert wider == 16 + 2 * 2


def test_edge_bleed_grows_continuously():
    one, between, two = (
        only(edge_bleed=(pixels / 84, pixels / 84)).predict(scene()) for pixels in (1, 1.5, 2)
    )
    np.testing.assert_allclose(between, (one + two) / 2, atol=1e-4)


def test_noise_changes_from_frame_to_frame_and_bending_does_not():
    frames, keys, steps = np.stack([scene()] * 2), np.array([7, 7]), np.array([0, 1])
    bent = only(bending=(0.05, 0.05))(frames, keys, steps)
    noisy = only(noise=(0.05, 0.05))(frames, keys, steps)
    np.testing.assert_array_equal(bent[0], bent[1])
    assert np.abs(noisy[0] - noisy[1]).max() > 0.05


def test_a_picture_depends_on_its_key_and_step_alone():
    frames, keys, steps = np.stack([scene()] * 3), np.array([1, 2, 2]), np.array([5, 5, 6])
    together = SimulatedDepth()(frames, keys, steps)
    alone = SimulatedDepth(seed=9)(frames[1:2], keys[1:2], steps[1:2])
    np.testing.assert_array_equal(together[1:2], alone)
    assert not np.array_equal(together[1], together[2])
    assert not np.array_equal(together[0], together[1])


def test_any_leading_dimensions_are_a_batch():
    batch = np.stack([scene()] * 6).reshape(2, 3, 84, 84)
    predicted = SimulatedDepth(seed=3).predict(batch)
    assert predicted.shape == batch.shape
    assert predicted.dtype == np.float32
    one_by_one = SimulatedDepth(seed=3)
    for frame, expected in zip(
        batch.reshape(-1, 84, 84), predicted.reshape(-1, 84, 84), strict=True
    ):
        np.testing.assert_array_equal(one_by_one.predict(frame), expected)


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_a_wall_stays_finite(level):
    assert np.isfinite(SimulatedDepth().predict(np.full((5, 84, 84), level, np.float32))).all()


def test_the_scene_stays_recognisable():
    predicted = SimulatedDepth().predict(np.stack([scene()] * 50))
    for frame in predicted:
        assert np.corrcoef(frame.ravel(), scene().ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    "ranges", [{"gamma": (2.0, 1.0)}, {"noise": (-0.1, 0.1)}, {"scale": (0.0, 1.0)}]
)
def test_impossible_ranges_are_refused(ranges):
    with pytest.raises(UserError, match=next(iter(ranges))):
        SimulatedDepthConfig(**ranges)
