import pytest
import torch

from robobase.errors import UserError
from robobase.models import EncoderCNNMultiViewDownsampleWithStrides as Encoder
from robobase.models import FusionMultiCamFeature, FusionMultiCamFeatureAttention
from robobase.models.image_input import ImageInput


@pytest.mark.parametrize(
    ("post", "kernel", "side"), [(0, 3, 55), (2, 3, 51), (2, 4, 48), (2, 2, 54)]
)
def test_feature_size_follows_from_the_convolutions(post, kernel, side):
    encoder = Encoder((2, 3, 224, 224), 2, post, kernel_size=kernel)
    assert encoder.output_shape == (2, 32 * side**2)


def test_default_stack_at_84_pixels_has_the_size_of_drqv2():
    encoder = Encoder((1, 9, 84, 84))
    assert encoder(torch.zeros(2, 1, 9, 84, 84)).shape == (2, 1, 39200)
    assert sum(p.numel() for p in encoder.parameters()) == 30368


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stem_stride", [2, 4])
def test_output_has_the_declared_shape(padding, stem_stride):
    encoder = Encoder(
        (2, 3, 33, 35), 2, 1, 4, padding=padding, channels_multiplier=2, stem_stride=stem_stride
    )
    assert encoder(torch.zeros(2, 2, 3, 33, 35)).shape == (2, *encoder.output_shape)


def test_bytes_and_floats_encode_alike():
    encoder = Encoder((1, 2, 21, 21), channel_kinds=["ids", "value"], num_classes=6)
    x = torch.randint(0, 6, (3, 1, 2, 21, 21), dtype=torch.uint8)
    assert torch.equal(encoder(x), encoder(x.float()))


def test_wrong_input_shape_is_an_assertion_error():
    with pytest.raises(AssertionError, match="expected"):
        Encoder((1, 3, 21, 21))(torch.zeros(2, 1, 3, 21, 20))


def test_input_of_the_caller_is_left_alone():
    x = torch.full((1, 1, 3, 21, 21), 100.0)
    Encoder((1, 3, 21, 21))(x)
    assert (x == 100).all()


def test_a_stem_of_stride_4_sees_every_pixel():
    encoder = Encoder((1, 1, 8, 8), 1, 0, stem_stride=4)
    x = torch.zeros(1, 1, 1, 8, 8, requires_grad=True)
    torch.nn.init.constant_(encoder.convs_per_view[0][0].bias, 10.0)
    encoder(x).sum().backward()
    assert (x.grad != 0).all()


def test_too_small_image_is_a_user_error():
    with pytest.raises(UserError, match="too small"):
        Encoder((1, 3, 6, 6))


def test_values_are_scaled_to_half_around_zero():
    x = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
    assert torch.equal(ImageInput(1)(x).flatten(), torch.tensor([-0.5, 0.5]))
    assert torch.equal(ImageInput(1, normalise_inputs=False)(x).flatten(), torch.tensor([0.0, 255]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_ids_become_one_hot_planes_before_the_values(dtype):
    prepare = ImageInput(4, channel_kinds=["ids", "value"], num_classes=3)
    x = torch.tensor([[2, 255, 0, 51]], dtype=dtype).view(1, 4, 1, 1)  # two frames
    assert prepare.out_channels == 8
    expected = torch.tensor([0, 0, 1, 1, 0, 0, 0.5, -0.3])
    torch.testing.assert_close(prepare(x).flatten(), expected)


def test_noisy_ids_are_rounded_and_unknown_ids_light_no_plane():
    prepare = ImageInput(1, channel_kinds=["ids"], num_classes=3)
    x = torch.tensor([0.999, 2.001, 7.0]).view(3, 1, 1, 1)
    assert prepare(x).view(3, 3).tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("channels", "kinds", "classes", "words"),
    [
        (3, ["ids", "value"], 6, "one kind per channel"),
        (2, ["ids", "depth"], 6, "channel_kinds"),
        (2, ["ids", "value"], None, "num_classes"),
    ],
)
def test_wrong_channel_kinds_are_user_errors(channels, kinds, classes, words):
    with pytest.raises(UserError, match=words):
        ImageInput(channels, channel_kinds=kinds, num_classes=classes)


@pytest.mark.parametrize(("mode", "size"), [("flatten", 10), ("average", 5), ("sum", 5)])
def test_fusion_modes(mode, size):
    x = torch.randn(3, 2, 5)
    fusion = FusionMultiCamFeature((2, 5), mode)
    assert fusion(x).shape == (3, size) == (3, *fusion.output_shape)
    if mode != "flatten":
        expected = x.mean(1) if mode == "average" else x[:, 0] + x[:, 1]
        torch.testing.assert_close(fusion(x), expected)


def test_unknown_fusion_mode_is_a_value_error():
    with pytest.raises(ValueError, match="mode"):
        FusionMultiCamFeature((2, 5), "max")


def test_attention_fusion_sees_every_view_and_learns_from_masked_views():
    torch.manual_seed(0)
    fusion = FusionMultiCamFeatureAttention((3, 5), hidden_size=16, num_heads=2)
    x = torch.randn(4, 3, 5, requires_grad=True)
    assert fusion(x).shape == (4, 16)
    fusion(x)[:, 0].sum().backward()  # the sum over a layer norm is constant
    assert (x.grad.abs().sum(-1) > 0).all()
    opt = torch.optim.Adam(fusion.parameters(), 1e-2)
    losses = []
    for _ in range(150):
        loss = fusion.calculate_loss(x.detach())
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
