"""A folder with a depth network runs no code and has nothing fetched, whatever its files say."""

import json
import os
import shutil

import pytest

from robobase.errors import UserError

pytest.importorskip("transformers")
pytest.importorskip("torchvision", exc_type=ImportError)

import torch
from safetensors.torch import load_file, save_file
from tiny_depth import save_tiny_depth

from so101_robobase.perception import depth_folder
from so101_robobase.perception.depth import DepthInference

CODE = "import os, pathlib\nos.mkdir(pathlib.Path({ran!r}))\n"
AUTO_MAP = {
    "AutoConfig": "modeling_evil.EvilConfig",
    "AutoModel": "modeling_evil.Evil",
    "AutoBackbone": "modeling_evil.Evil",
    "AutoImageProcessor": "modeling_evil.Evil",
    "AutoModelForDepthEstimation": "modeling_evil.Evil",
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return save_tiny_depth(tmp_path_factory.mktemp("depth") / "tiny")


@pytest.fixture
def folder(good, tmp_path, monkeypatch):
    """A copy of a good network, with Python beside it that would leave a trace."""

    def refuse(*_, **__):
        raise AssertionError("the hub was asked")

    for name in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(f"huggingface_hub.{name}", refuse)
    copy = shutil.copytree(good, tmp_path / "copy")
    evil = tmp_path / "evil"
    evil.mkdir()
    for place in (copy, evil):
        (place / "modeling_evil.py").write_text(CODE.format(ran=str(tmp_path / "ran")))
    (evil / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": AUTO_MAP}))
    return copy


def edit(folder, file="config.json", **changes):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_backbone(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    edit(folder, backbone_config=config["backbone_config"] | changes)


def evil(folder):
    return str(folder.parent / "evil")


RUN_CODE = {
    "a backbone that is a folder": lambda f: edit(
        f, backbone=evil(f), backbone_config=None, backbone_kwargs={"trust_remote_code": True}
    ),
    "a backbone beside its config": lambda f: edit(
        f, backbone=evil(f), backbone_kwargs={"trust_remote_code": True}
    ),
    "a backbone of the hub": lambda f: edit(f, backbone="somebody/evil", backbone_config=None),
    "a pretrained backbone": lambda f: edit(
        f, backbone=evil(f), use_pretrained_backbone=True, backbone_config=None
    ),
    "a backbone of timm": lambda f: edit(
        f, backbone="hf_hub:somebody/evil", use_timm_backbone=True, backbone_config=None
    ),
    "auto_map": lambda f: edit(f, auto_map=AUTO_MAP),
    "auto_map of the backbone": lambda f: edit_backbone(f, auto_map=AUTO_MAP),
    "auto_map of the processor": lambda f: edit(
        f, "preprocessor_config.json", auto_map=AUTO_MAP, image_processor_type="Evil"
    ),
    "auto_map in a list": lambda f: edit(f, neck_hidden_sizes=[{"auto_map": AUTO_MAP}]),
    "trust_remote_code": lambda f: edit(f, trust_remote_code=True),
    "kwargs alone": lambda f: edit(f, backbone_kwargs={"trust_remote_code": True}),
    "custom pipelines": lambda f: edit(f, custom_pipelines={"x": {"impl": "modeling_evil.Evil"}}),
    "another kind of backbone": lambda f: edit_backbone(f, model_type="timm_backbone"),
    "a kind of its own": lambda f: edit_backbone(f, model_type="evil"),
    "a backbone that is a name": lambda f: edit(f, backbone_config=evil(f)),
    "an activation": lambda f: edit_backbone(f, hidden_act="modeling_evil.Evil"),
    "pickled weights": lambda f: pickled(f),
    "pickled weights by another name": lambda f: pickled(f, "model.safetensors"),
}


class Evil:
    def __init__(self, ran):
        self.ran = ran

    def __reduce__(self):
        return os.mkdir, (self.ran,)


def pickled(folder, name="pytorch_model.bin"):
    (folder / "model.safetensors").unlink()
    torch.save({"x": Evil(str(folder.parent / "ran"))}, folder / name)


@pytest.mark.parametrize("form", RUN_CODE.values(), ids=RUN_CODE)
def test_no_key_has_code_run_or_a_model_fetched(folder, form):
    form(folder)
    with pytest.raises(UserError) as refused:
        DepthInference(folder)
    assert not (folder.parent / "ran").exists()
    assert "\n" not in str(refused.value)


HARMLESS = {
    "where it came from": lambda f: edit(f, _name_or_path=evil(f), _commit_hash="a"),
    "the origin of the backbone": lambda f: edit_backbone(f, _name_or_path=evil(f)),
    "classes": lambda f: edit(f, architectures=["Evil"], transformers_version="99"),
    "an attention of its own": lambda f: edit(
        f, _attn_implementation="somebody/kernel", attn_implementation="somebody/kernel"
    ),
    "quantisation": lambda f: edit(f, quantization_config={"quant_method": "evil"}),
    "the processor's class": lambda f: edit(
        f, "preprocessor_config.json", image_processor_type="Evil", processor_class="Evil"
    ),
    "an adapter": lambda f: (f / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": evil(f), "auto_mapping": AUTO_MAP})
    ),
    "an index of other files": lambda f: (f / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"x": "pytorch_model.bin"}})
    ),
}


@pytest.mark.parametrize("form", HARMLESS.values(), ids=HARMLESS)
def test_what_is_not_needed_is_left_aside(folder, form):
    form(folder)
    assert DepthInference(folder).model is not None
    assert not (folder.parent / "ran").exists()


def _weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def _nan(weights):
    weights["head.conv3.bias"].fill_(float("nan"))


BAD = {
    "numbers that are none": lambda f: _weights(f, _nan),
    "one tensor more": lambda f: _weights(f, lambda w: w.update(more=torch.zeros(1))),
    "another shape": lambda f: _weights(f, lambda w: w.update({"head.conv3.bias": torch.zeros(2)})),
    "a huge network": lambda f: edit_backbone(f, hidden_size=4096, num_hidden_layers=100),
    "a picture's worth of memory": lambda f: edit(f, head_hidden_size=4096),
    "a patch per pixel": lambda f: edit_backbone(f, patch_size=4),
    "pictures too large": lambda f: edit(
        f, "preprocessor_config.json", size={"height": 2048, "width": 2048}
    ),
    "many small heads": lambda f: edit_backbone(f, num_attention_heads=8),
    "more than huge": lambda f: edit_backbone(f, hidden_size=10**12),
    "negative": lambda f: edit(f, fusion_hidden_size=-1),
    "a flag for a number": lambda f: edit(f, patch_size=True),
    "a text for a number": lambda f: edit(f, patch_size="14"),
    "no heads that fit": lambda f: edit_backbone(f, num_attention_heads=7),
    "stages that are not there": lambda f: edit_backbone(f, out_indices=[97], out_features=None),
    "a size of nothing": lambda f: edit(f, "preprocessor_config.json", size={"height": 0}),
    "no deviation": lambda f: edit(f, "preprocessor_config.json", image_std=[0, 0, 0]),
    "no size": lambda f: edit(f, "preprocessor_config.json", size=None),
    "a list": lambda f: (f / "config.json").write_text("[]"),
    "deep": lambda f: (f / "config.json").write_text("[" * 100_000),
    "a header of nothing": lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 8),
    "empty weights": lambda f: (f / "model.safetensors").write_bytes(b""),
    "a pipe": lambda f: (f / "config.json").unlink() or os.mkfifo(f / "config.json"),
    "a pipe of weights": lambda f: (
        (f / "model.safetensors").unlink() or os.mkfifo(f / "model.safetensors")
    ),
    "a device": lambda f: (
        (f / "model.safetensors").unlink() or (f / "model.safetensors").symlink_to("/dev/zero")
    ),
}


@pytest.mark.parametrize("form", BAD.values(), ids=BAD)
def test_what_is_damaged_or_huge_is_one_line(folder, form):
    form(folder)
    with pytest.raises(UserError) as refused:
        DepthInference(folder)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


def test_the_real_networks_own_settings_are_allowed():
    """Those of Depth Anything V2 Large, the largest that is published for relative depth."""
    backbone = {
        "model_type": "dinov2",
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "image_size": 518,
        "patch_size": 14,
        "out_indices": [5, 12, 18, 24],
        "out_features": ["stage5", "stage12", "stage18", "stage24"],
        "reshape_hidden_states": False,
    }
    taken = depth_folder._taken(backbone, depth_folder._BACKBONE, "config.json")
    assert taken.keys() == backbone.keys() - {"model_type"}


def test_a_small_network_that_takes_much_for_a_picture_is_refused(folder):
    save_tiny_depth(folder, reassemble_factors=[4, 4, 4, 4], fusion_hidden_size=256)
    edit(folder, "preprocessor_config.json", size={"height": 1036, "width": 1036})
    with pytest.raises(UserError, match=r"takes .* MiB at once for a picture of 1372 x 1036"):
        DepthInference(folder)
