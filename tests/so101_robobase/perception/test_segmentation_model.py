import numpy as np
import pytest
import torch

from robobase.errors import UserError
from so101_robobase.perception.segmentation import config as configuration
from so101_robobase.perception.segmentation import pretrained
from so101_robobase.perception.segmentation.evaluation import policy_logits
from so101_robobase.perception.segmentation.model import ModelSpec, SegmentationNetwork, upsample
from so101_robobase.perception.segmentation.preprocessing import ids_from_logits, prepare
from so101_robobase.perception.segmentation.pretrained import with_encoder_weights
from so101_robobase.vision import observation

pytest.importorskip("segmentation_models_pytorch")
pytest.importorskip("timm")

FPN = {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32}


def network(**changes) -> SegmentationNetwork:
    settings = {"decoder": "fpn", "encoder": "tu-efficientvit_b0", "size": (64, 96)}
    return SegmentationNetwork(ModelSpec(**{**settings, "decoder_options": FPN, **changes}))


def test_the_home_network_has_about_850_000_parameters_and_six_classes():
    home = SegmentationNetwork(configuration.checked(configuration.settings("home")).model.spec)
    assert 800_000 < home.num_parameters < 900_000
    logits = home.eval()(torch.zeros(1, 3, 192, 256))
    assert logits.shape == (1, len(observation.CLASSES), 48, 64)


def test_another_decoder_and_encoder_need_settings_only():
    unet = network(
        decoder="unet",
        encoder="tu-mobilenetv3_small_050",
        decoder_options={"decoder_channels": (32, 16, 16, 8, 8)},
    )
    assert unet.eval()(torch.zeros(1, 3, 64, 96)).shape == (1, 6, 64, 96)


def test_the_encoder_sees_rgb_normalised_as_imagenet_s():
    net = network()
    seen = {}
    net.body.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    pictures = torch.zeros(1, 3, 64, 96)
    pictures[:, 2] = 255  # the last of BGR: red
    net.eval()(pictures)
    expected = (1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225
    assert seen["x"][0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder": "fpm"}, "known: .*fpn"),
        ({"encoder": "tu-nonsense"}, "nonsense"),
        ({"encoder": "nonsense"}, "tu-efficientvit_b0"),
        ({"size": (60, 96)}, "multiples of 32"),
        ({"decoder_options": {"decoder_colour": 3}}, "decoder_colour"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(change, message):
    with pytest.raises(UserError, match=message) as caught:
        network(**change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("frame", [(480, 640), (720, 1280), (97, 84)])
def test_masks_at_policy_resolution_are_those_of_the_frame(frame):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 6, 48, 64)).astype(np.float32)
    whole = ids_from_logits(logits[0], frame)
    sampled = policy_logits(torch.from_numpy(logits), np.array([frame])).argmax(1)[0].numpy()
    # All but ties, which the last bits of two interpolations decide.
    assert (sampled == observation.seg(whole)[0]).mean() > 0.998


def test_numpy_and_torch_upsample_alike():
    logits = np.random.default_rng(0).normal(size=(1, 6, 12, 16)).astype(np.float32)
    by_torch = upsample(torch.from_numpy(logits), (120, 160)).argmax(1)[0].numpy()
    assert (by_torch == ids_from_logits(logits[0], (120, 160))).mean() > 0.999


def test_prepared_frames_keep_the_order_of_colours():
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[..., 0] = 200
    prepared = prepare(frame, (192, 256))
    assert prepared.shape == (1, 3, 192, 256)
    assert prepared.dtype == np.float32
    assert prepared[0, 0].min() == 200
    assert not prepared[0, 1:].any()


def test_without_a_hub_training_starts_from_scratch_and_says_so_in_one_line(monkeypatch):
    monkeypatch.setattr(pretrained, "_hub_answers", lambda: False)
    lines: list[str] = []

    def build(wanted: bool) -> str:
        if wanted:
            raise FileNotFoundError("not in the local cache\nsecond line")
        return "random"

    assert with_encoder_weights("auto", build, lines.append) == "random"
    assert len(lines) == 1
    assert "scratch" in lines[0]
    with pytest.raises(UserError, match="not in the local cache"):
        with_encoder_weights("imagenet", build, lines.append)
    with pytest.raises(UserError, match="known: auto"):
        with_encoder_weights("coco", build, lines.append)


def test_weights_in_the_hub_s_cache_are_looked_for_when_the_hub_is_away(monkeypatch):
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    monkeypatch.setattr(pretrained, "_hub_answers", lambda: False)
    offline: list[bool] = []
    with_encoder_weights("auto", lambda _: offline.append(constants.HF_HUB_OFFLINE), print)
    assert offline == [True]
    assert not constants.HF_HUB_OFFLINE
