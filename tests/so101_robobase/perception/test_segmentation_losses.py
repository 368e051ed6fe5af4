import numpy as np
import pytest
import torch

from so101_robobase.perception.segmentation.losses import (
    IGNORED,
    LOSSES,
    cross_entropy,
    soft_iou,
    soft_iou_and_cross_entropy,
)
from so101_robobase.perception.segmentation.metrics import Confusion


def sure_of(ids: torch.Tensor, classes: int = 6) -> torch.Tensor:
    return 50.0 * torch.nn.functional.one_hot(ids, classes).permute(0, 3, 1, 2).float()


def test_losses_of_a_perfect_prediction_are_zero():
    ids = torch.randint(0, 6, (2, 8, 8))
    for loss in LOSSES.values():
        assert loss(sure_of(ids), ids).item() == pytest.approx(0, abs=1e-5)


def test_soft_iou_of_a_completely_wrong_prediction_is_one():
    ids = torch.zeros(1, 4, 4, dtype=torch.int64)
    assert soft_iou(sure_of(ids + 1), ids).item() == pytest.approx(1, abs=1e-5)


def test_soft_iou_of_a_coin_flip_has_the_hand_computed_value():
    # 2 classes, 4 pixels, 1 of class 1, p = 0.5 everywhere: 1.5 / 3.5 and 0.5 / 2.5.
    ids = torch.tensor([[[0, 0], [0, 1]]])
    expected = 1 - (1.5 / 3.5 + 0.5 / 2.5) / 2
    assert soft_iou(torch.zeros(1, 2, 2, 2), ids).item() == pytest.approx(expected)


def test_small_classes_weigh_as_much_as_large_ones_in_soft_iou():
    ids = torch.zeros(1, 32, 32, dtype=torch.int64)
    ids[0, 0, 0] = 3
    all_table = sure_of(torch.zeros_like(ids))
    assert soft_iou(all_table, ids).item() > 0.49
    assert cross_entropy(all_table, ids).item() < 0.06


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_ignored_pixels_neither_count_nor_teach(loss):
    ids = torch.randint(0, 6, (2, 8, 8))
    ids[:, :4] = IGNORED
    logits = torch.randn(2, 6, 8, 8, requires_grad=True)
    value = loss(logits, ids)
    (gradient,) = torch.autograd.grad(value, logits)
    assert not gradient[:, :, :4].any()
    assert gradient[:, :, 4:].any()
    other = logits.detach().clone()
    other[:, :, :4] += 7 * torch.randn(2, 6, 4, 8)
    assert loss(other, ids).item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_batch_without_any_label_has_a_finite_loss_and_no_gradient(loss):
    logits = torch.randn(1, 6, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((1, 4, 4), IGNORED))
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.isfinite(value)
    assert not gradient.any()


def test_the_sum_is_the_sum():
    logits, ids = torch.randn(1, 6, 5, 5), torch.randint(0, 6, (1, 5, 5))
    parts = soft_iou(logits, ids) + cross_entropy(logits, ids)
    assert soft_iou_and_cross_entropy(logits, ids).item() == pytest.approx(parts.item())


def test_iou_has_the_hand_computed_values_and_leaves_absent_classes_out():
    truth = np.array([[2, 2, 2, 3]], np.uint8)
    predicted = np.array([[2, 2, 3, 3]], np.uint8)
    confusion = Confusion().add(truth, predicted)
    np.testing.assert_allclose(confusion.iou[[2, 3]], [2 / 3, 1 / 2])
    assert np.isnan(confusion.iou[[0, 1, 4, 5]]).all()
    assert confusion.mean_iou == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert confusion.accuracy == pytest.approx(3 / 4)
    assert confusion.matrix[2, 3] == 1  # rows are the truth


def test_an_empty_confusion_has_no_iou():
    assert np.isnan(Confusion().mean_iou)
    assert np.isnan(Confusion().accuracy)
