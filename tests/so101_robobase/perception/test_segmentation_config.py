import pytest

from robobase.errors import UserError
from so101_robobase.perception.segmentation import config as configuration


def test_both_presets_are_valid_and_full_is_the_camera_s_own_size():
    home, full = (
        configuration.checked(configuration.settings(name)) for name in configuration.PRESETS
    )
    assert home.model.spec.encoder == full.model.spec.encoder == "tu-efficientvit_b0"
    assert full.model.spec.size == (480, 640)
    assert home.model.spec.size[0] * 4 == home.model.spec.size[1] * 3  # no distortion of 640x480


def test_overrides_reach_the_dataclasses():
    cfg = configuration.settings(
        "home", ["optimisation.epochs=3", "model.decoder=unet", "augmentation.crop=[96,64]"]
    )
    made = configuration.checked(cfg)
    assert made.optimisation.epochs == 3
    assert "decoder_channels" in made.model.spec.decoder_options
    assert made.augmentation.crop == (96, 64)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimisation.epoch=3", "did you mean epochs"),
        ("colour=3", "unknown"),
        ("nonsense", "key=value"),
        ("optimisation.epochs=many", "many"),
        ("optimisation.loss=dice", "known: soft_iou"),
        ("optimisation.batch_size=1", "batch_size"),
        ("precision=fp8", "known"),
        ("model.size=[84,84]", "multiples of 32"),
        ("augmentation.crop=[480,480]", r"at most model.size"),
        ("data.validation_fraction=0", "--validation"),
        ("augmentation.flip=true", "unknown"),
    ],
)
def test_wrong_settings_are_named_in_one_line(override, message):
    with pytest.raises(UserError, match=message) as caught:
        configuration.checked(configuration.settings("home", [override]))
    assert "\n" not in str(caught.value)
