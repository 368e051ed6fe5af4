import functools
import math

import pytest
from omegaconf import OmegaConf

from robobase.errors import UserError
from robobase.settings import tree
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
        ("optimisation.loss=dice", "give soft_iou"),
        ("optimisation.batch_size=1", "batch_size"),
        ("precision=fp8", "give auto, fp32"),
        ("model.size=[84,84]", "multiple of 32"),
        ("augmentation.crop=[480,480]", r"at most model.size"),
        ("data.validation_fraction=0", "--validation"),
        ("augmentation.flip=true", "unknown"),
    ],
)
def test_wrong_settings_are_named_in_one_line(override, message):
    with pytest.raises(UserError, match=message) as caught:
        configuration.checked(configuration.settings("home", [override]))
    assert "\n" not in str(caught.value)


BAD = [
    *("", "abc", "nan", "1", -1, 0, 1.5, 1e12, 10**400, math.nan, math.inf, -math.inf, True, None),
    *([], {}, [1, 0], [math.nan, 1], [[1]], {"a": 1}, [20_000, 20_000], 200 * [1]),
]


def test_bad_values_of_every_setting_are_one_line_or_allowed():
    content = configuration.settings("home")
    keys = [key for key, _ in tree.leaves(tree.raw(content)) if "decoder_options" not in key]
    assert len(keys) > 35
    for key in keys:
        refused = 0
        for value in BAD:
            raw = tree.raw(content)
            *groups, last = key.split(".")
            functools.reduce(dict.__getitem__, groups, raw)[last] = value
            try:
                configuration.checked(OmegaConf.create(raw))
            except UserError as error:
                lines = str(error).splitlines()
                refused += len(lines) == 1
        assert refused >= 10, key


def test_a_batch_that_memory_cannot_hold_is_told_with_an_estimate():
    wide = ["model.size=[4096,4096]", "augmentation.crop=[4096,4096]", "device=cpu"]
    content = configuration.settings("home", [*wide, "optimisation.batch_size=4096"])
    with pytest.raises(UserError, match=r"about [\d,.]+ GiB of memory.*lower optimisation"):
        configuration.checked(content)
