import pytest
import torch
from nn_helpers import observation_space

from robobase.method import utils


def test_shifts_copy_pixels_exactly_and_stay_within_the_pad():
    torch.manual_seed(0)
    x = torch.arange(12 * 12, dtype=torch.uint8).view(1, 1, 12, 12).expand(64, 2, 12, 12)
    shifted = utils.RandomShiftsAug(2)(x)
    assert shifted.shape == x.shape
    assert shifted.dtype == torch.uint8
    assert torch.equal(shifted[:, 0], shifted[:, 1])  # channels share one shift
    padded = torch.nn.functional.pad(x[:1].float(), (2, 2, 2, 2), mode="replicate")
    crops = {
        tuple(padded[0, 0, dy : dy + 12, dx : dx + 12].flatten().tolist())
        for dy in range(5)
        for dx in range(5)
    }
    seen = {tuple(image.flatten().float().tolist()) for image in shifted[:, 0]}
    assert seen <= crops
    assert len(seen) > 10  # images are shifted independently, along both axes


def test_a_shift_of_nothing_changes_nothing():
    x = torch.rand(2, 3, 5, 5)
    assert torch.equal(utils.RandomShiftsAug(0)(x), x)


def test_shifts_need_square_images():
    with pytest.raises(AssertionError, match="square"):
        utils.RandomShiftsAug(2)(torch.zeros(1, 1, 5, 6))


def test_a_video_is_shifted_as_one_and_black_beyond_the_edge():
    torch.manual_seed(0)
    shifted = utils.TimeConsistentRandomShiftsAug(2)(torch.ones(32, 3, 1, 6, 6))
    assert torch.equal(shifted[:, 0], shifted[:, 2])
    assert (shifted == 0).any()


def test_time_goes_into_channels_oldest_first():
    x = torch.arange(6).view(1, 3, 2, 1, 1)
    flat = utils.flatten_time_dim_into_channel_dim(x)
    assert flat.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert utils.flatten_time_dim_into_channel_dim(x[None], has_view_axis=True).shape == (
        1, 1, 6, 1, 1,
    )  # fmt: skip


def test_dictionaries_merge_and_stack():
    d = {"a": torch.zeros(2, 3), "b": torch.ones(2, 3)}
    assert utils.merge_tensor_dictionary(d, 1).shape == (2, 6)
    assert utils.stack_tensor_dictionary(d, 1).shape == (2, 2, 3)
    assert torch.equal(utils.stack_tensor_dictionary({"a": d["a"]}, 1), d["a"][:, None])


def test_current_and_next_images_are_told_apart():
    batch = dict.fromkeys(["rgb", "rgb_wrist", "rgb_tp1", "rgb_wrist_tp1", "reward"], torch.ones(1))
    assert list(utils.extract_many_from_batch(batch, utils.CURRENT_IMAGES)) == ["rgb", "rgb_wrist"]
    assert list(utils.extract_many_from_batch(batch, utils.NEXT_IMAGES)) == [
        "rgb_tp1",
        "rgb_wrist_tp1",
    ]


def test_what_is_missing_is_a_value_error_unless_allowed():
    space = observation_space(cameras=())
    with pytest.raises(ValueError, match="rgb"):
        utils.extract_many_from_spec(space, utils.IMAGES)
    with pytest.raises(ValueError, match="time"):
        utils.extract_from_spec(space, "time")
    with pytest.raises(ValueError, match="reward"):
        utils.extract_from_batch({}, "reward")
    assert utils.extract_many_from_spec(space, utils.IMAGES, missing_ok=True) == {}
    assert utils.extract_from_batch({}, "reward", missing_ok=True) is None


def test_importance_weights_follow_the_sampling_probabilities():
    batch = {"action": torch.zeros(2, 1), "sampling_probabilities": torch.tensor([1.0, 4.0])}
    torch.testing.assert_close(utils.loss_weights(batch, 1.0), torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(utils.loss_weights(batch, 2.0), torch.tensor([1.0, 0.25]))
    assert utils.loss_weights({"action": torch.zeros(3, 1)}).tolist() == [1, 1, 1]
