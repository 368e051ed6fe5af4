"""Claims about disparity by Depth Anything, on a tiny one with random weights."""

import json
import shutil

import cv2
import numpy as np
import pytest

from robobase.errors import UserError

pytest.importorskip("transformers")
pytest.importorskip("torchvision", exc_type=ImportError)

import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_depth import blotches, save_tiny_depth

from so101_robobase.perception import depth
from so101_robobase.perception.depth import DepthInference


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_depth(tmp_path_factory.mktemp("depth") / "tiny")


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def by_pipeline_of_transformers(folder, bgr, **options):
    """Disparity as transformers' own example makes it."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder, **options)
    model = transformers.AutoModelForDepthEstimation.from_pretrained(folder).eval()
    inputs = processor(images=cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    (result,) = processor.post_process_depth_estimation(outputs, target_sizes=[bgr.shape[:2]])
    return result["predicted_depth"].numpy()


@pytest.mark.parametrize("size", [(120, 160), (97, 181)])
def test_disparity_is_what_transformers_own_pipeline_gives(folder, size):
    frame = blotches(*size)
    predicted = DepthInference(folder).predict(frame)
    fast = {"use_fast": True} if transformers.__version__.startswith("4.") else {}
    np.testing.assert_array_equal(predicted, by_pipeline_of_transformers(folder, frame, **fast))
    assert predicted.shape == size
    assert predicted.dtype == np.float32
    assert np.ptp(predicted) > 0


def test_colours_reach_the_network_as_rgb(folder):
    blue = np.zeros((126, 126, 3), np.uint8)
    blue[..., 0] = 255
    inputs = DepthInference(folder).preprocess(blue)[0]
    expected = (np.array([0, 0, 1]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(inputs.mean((1, 2)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("input_size", "shape"), [(None, (126, 168)), (56, (56, 70)), (252, (196, 252))]
)
def test_the_network_sees_multiples_of_its_patch(folder, input_size, shape):
    inference = DepthInference(folder, input_size=input_size)
    assert inference.preprocess(blotches()).shape == (1, 3, *shape)
    assert inference.predict(blotches()).shape == (120, 160)


def test_what_was_downloaded_once_is_used_without_the_hub(folder, monkeypatch):
    def snapshot_download(name, allow_patterns, local_files_only=False):
        assert name == depth.DEPTH_ANYTHING
        assert local_files_only
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert DepthInference().predict(blotches()).shape == (120, 160)


def test_half_a_download_is_completed(folder, monkeypatch, tmp_path):
    def snapshot_download(name, allow_patterns, local_files_only=False):
        return str(tmp_path if local_files_only else folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert depth.find_model("somebody/model") == folder


def test_without_hub_one_line_says_what_to_fetch(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def unreachable(*args, **kwargs):
        raise LocalEntryNotFoundError("Check your internet connection\nand try again.")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(UserError, match=r"cannot be reached.*hf download") as error:
        DepthInference()
    assert "\n" not in str(error.value)


def test_a_refusal_of_the_hub_is_one_line(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def refuse(name, allow_patterns, local_files_only=False):
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        raise ConnectionError("403 Forbidden\nsee the log")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(UserError, match=r"somebody/model.*403 Forbidden") as error:
        DepthInference("somebody/model")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["/no/such/folder", "a name with blanks", ""])
def test_what_can_be_no_model_is_refused_without_asking_the_hub(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"neither a folder nor|lacks"):
        DepthInference(name)


def test_a_folder_that_lacks_files_is_refused_by_their_names(copy):
    (copy / "model.safetensors").unlink()
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"lacks preprocessor_config\.json, model\.safetensors"):
        DepthInference(copy)


def _cut_weights(copy):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def _break_config(copy):
    (copy / "config.json").write_text("{")


def _break_preprocessor(copy):
    (copy / "preprocessor_config.json").write_text('{"image_processor_type": "Glasses"}')


def _drop_half_of_the_weights(copy):
    weights = load_file(copy / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("head.")}
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})


def _widen(copy):
    _edit(copy, head_hidden_size=16)


def _be_another_model(copy):
    _edit(copy, model_type="dpt")


def _be_metric(copy):
    _edit(copy, depth_estimation_type="metric", max_depth=20)


def _edit(copy, **changes):
    file = copy / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut_weights, "cannot be loaded"),
        (_break_config, "cannot be read as JSON"),
        (_break_preprocessor, "cannot be loaded"),
        (_drop_half_of_the_weights, "another architecture"),
        (_widen, "cannot be loaded|another architecture"),
        (_be_another_model, "holds a 'dpt' model"),
        (_be_metric, "metric depth, not disparity"),
    ],
)
def test_broken_and_foreign_models_are_one_line(copy, spoil, message, capfd):
    spoil(copy)
    with pytest.raises(UserError, match=message) as error:
        DepthInference(copy)
    assert str(copy) in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_a_device_that_is_not_there_is_refused(folder):
    with pytest.raises(UserError, match="device 'cuda:77'"):
        DepthInference(folder, device="cuda:77")


def test_an_input_smaller_than_a_patch_is_refused(folder):
    with pytest.raises(UserError, match="at least 14"):
        DepthInference(folder, input_size=8)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((120, 160), np.uint8),
        np.zeros((120, 160, 4), np.uint8),
        np.zeros((120, 160, 3), np.float32),
        np.zeros((0, 160, 3), np.uint8),
    ],
)
def test_what_is_no_frame_is_refused(folder, frame):
    with pytest.raises(UserError, match=r"networks take \(H, W, 3\) uint8"):
        DepthInference(folder).predict(frame)
