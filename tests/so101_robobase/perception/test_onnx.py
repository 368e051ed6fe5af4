"""Claims about networks in ONNX files, and about the commands that write and time them."""

import argparse
import contextlib
import io
import shutil

import numpy as np
import pytest

from robobase.errors import UserError

pytest.importorskip("transformers")
pytest.importorskip("torchvision", exc_type=ImportError)
pytest.importorskip("segmentation_models_pytorch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx
import torch
from tiny_depth import blotches, save_tiny_depth

from so101_robobase.base.arguments import parse_frame_size
from so101_robobase.perception import benchmark_command, export_command, latency, onnx_export
from so101_robobase.perception.depth import DepthInference
from so101_robobase.perception.onnx import METADATA, OnnxDepth, OnnxSegmentation
from so101_robobase.perception.onnx_export import export_depth, export_segmentation, parity_frames
from so101_robobase.perception.segmentation import checkpoint
from so101_robobase.perception.segmentation.inference import SegmentationInference
from so101_robobase.perception.segmentation.model import ModelSpec, SegmentationNetwork
from so101_robobase.perception.segmentation.preprocessing import prepare
from so101_robobase.vision.observation import CLASSES

FRAME = (120, 160)


def call(command, *words) -> str:
    """What the command prints."""
    parser = argparse.ArgumentParser()
    command.configure(parser)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert command.run(parser.parse_args(list(map(str, words)))) == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="module")
def depth(folder):
    return DepthInference(save_tiny_depth(folder / "tiny"), input_size=56)


@pytest.fixture(scope="module")
def segmentation(folder):
    torch.manual_seed(1)
    spec = ModelSpec("fpn", "tu-resnet10t", (64, 96), {"encoder_depth": 5})
    network = SegmentationNetwork(spec).eval()
    with torch.no_grad():  # so that not one class wins everywhere
        logits = network(torch.from_numpy(prepare(blotches(), spec.size)))
        network.body.segmentation_head[0].bias -= logits.mean((0, 2, 3))
    checkpoint.save(folder / "best.pt", network, {})
    return SegmentationInference(folder / "best.pt")


@pytest.fixture(scope="module")
def exported_depth(folder, depth):
    """The file, and what the command printed."""
    file = folder / "new" / "depth.onnx"
    words = ("--frame_size", "160x120", "--input_size", "56", "--output", file)
    return file, call(export_command, "--depth", folder / "tiny", *words)


@pytest.fixture(scope="module")
def exported_segmentation(folder, segmentation):
    """The file, and what the command printed."""
    file = folder / "segmentation.onnx"
    return file, call(export_command, "--segmentation", folder / "best.pt", "--output", file)


@pytest.fixture(scope="module")
def depth_file(exported_depth):
    return exported_depth[0]


@pytest.fixture(scope="module")
def segmentation_file(exported_segmentation):
    return exported_segmentation[0]


def test_an_export_prints_its_parity_and_leaves_one_file(exported_depth, exported_segmentation):
    file, printed = exported_depth
    assert "disparity, mean difference / span" in printed
    assert str(file) in printed
    assert list(file.parent.iterdir()) == [file]
    assert "class ids, equal pixels" in exported_segmentation[1]


def test_disparity_of_the_file_is_that_of_the_network(depth, depth_file):
    frame = blotches(*FRAME, seed=5)
    true, predicted = depth.predict(frame), OnnxDepth(depth_file).predict(frame)
    assert predicted.shape == true.shape
    assert predicted.dtype == np.float32
    assert np.abs(predicted - true).mean() < 0.01 * np.ptp(true)


def test_ids_of_the_file_are_those_of_the_network(segmentation, segmentation_file):
    frame = blotches(90, 170, seed=5)
    true, predicted = (
        network.predict(frame) for network in (segmentation, OnnxSegmentation(segmentation_file))
    )
    assert len(np.unique(true)) > 1
    assert predicted.shape == true.shape
    assert predicted.dtype == np.uint8
    assert np.mean(predicted == true) > 0.999


def test_preparation_for_the_network_differs_by_rounding_at_most(depth, depth_file):
    exported = OnnxDepth(depth_file)
    for frame in parity_frames(*FRAME):
        true, ours = depth.preprocess(frame).numpy(), exported.preprocess(frame)
        assert ours.shape == true.shape
        assert ours.dtype == np.float32
        assert np.abs(ours - true).max() < 2.5 / 255 / 0.22  # two of 255 levels


def test_threads_do_not_change_what_a_file_gives(depth_file):
    frame = blotches(*FRAME)
    one, two = (OnnxDepth(depth_file, threads).predict(frame) for threads in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4 * np.ptp(one))


def test_a_file_that_computes_something_else_is_not_left(
    segmentation, segmentation_file, tmp_path, monkeypatch
):
    def wrong(network, inputs, path, kind, settings):
        model = onnx.load(segmentation_file)
        for tensor in model.graph.initializer:
            if len(tensor.dims) == 4:  # of a convolution
                tensor.raw_data = bytes(len(tensor.raw_data))
        onnx.save(model, path)

    monkeypatch.setattr(onnx_export, "_write", wrong)
    with pytest.raises(UserError, match=r"wrong\.onnx was not written.*something else"):
        export_segmentation(segmentation, tmp_path / "wrong.onnx")
    assert list(tmp_path.iterdir()) == []


def test_predictions_that_differ_are_noticed_even_if_the_networks_agree(
    depth, depth_file, tmp_path, monkeypatch
):
    def write(network, inputs, path, kind, settings):
        shutil.copy(depth_file, path)

    monkeypatch.setattr(onnx_export, "_write", write)
    assert export_depth(depth, tmp_path / "right.onnx", FRAME).error < 0.01
    monkeypatch.setattr(OnnxDepth, "predict", lambda self, bgr: depth.predict(bgr)[::-1])
    with pytest.raises(UserError, match="was not written"):
        export_depth(depth, tmp_path / "upside_down.onnx", FRAME)
    assert [path.name for path in tmp_path.iterdir()] == ["right.onnx"]


def test_a_file_holds_no_paths_of_the_machine_that_wrote_it(segmentation_file):
    content = segmentation_file.read_bytes()
    assert b"site-packages" not in content
    assert b"so101_robobase/perception" not in content


def test_frames_of_another_size_are_refused(depth_file):
    with pytest.raises(UserError, match=r"100x90.*160x120.*--frame_size"):
        OnnxDepth(depth_file).predict(blotches(90, 100))


@pytest.mark.parametrize("kind", [OnnxDepth, OnnxSegmentation])
@pytest.mark.parametrize("frame", [np.zeros(FRAME, np.uint8), np.zeros((*FRAME, 3))])
def test_what_is_no_frame_is_refused(kind, frame, depth_file, segmentation_file):
    file = depth_file if kind is OnnxDepth else segmentation_file
    with pytest.raises(UserError, match=r"networks take \(H, W, 3\) uint8"):
        kind(file).predict(frame)


def test_the_wrong_kind_of_network_is_refused(depth_file, segmentation_file):
    with pytest.raises(UserError, match="holds a network for segmentation, not depth"):
        OnnxDepth(segmentation_file)
    with pytest.raises(UserError, match="holds a network for depth, not segmentation"):
        OnnxSegmentation(depth_file)


def test_missing_broken_and_foreign_files_are_one_line(segmentation_file, tmp_path):
    broken, foreign = tmp_path / "broken.onnx", tmp_path / "foreign.onnx"
    broken.write_bytes(segmentation_file.read_bytes()[:5000])
    model = onnx.load(segmentation_file)
    del model.metadata_props[:]
    onnx.save(model, foreign)
    for path, message in [
        (tmp_path / "nowhere.onnx", "cannot be read .* perception export"),
        (tmp_path, "is no regular file"),
        (broken, "cannot be read as an ONNX file"),
        (foreign, "export the network again"),
    ]:
        with pytest.raises(UserError, match=message) as error:
            OnnxSegmentation(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "settings",
    ["", "[]", "{", "[" * 5000, '{"kind": ["segmentation"]}', '{"kind": "segmentation"}',
     '{"kind": "segmentation", "classes": 5}', '{"kind": "a", "kind": "segmentation"}'],
)  # fmt: skip
def test_damaged_settings_are_one_line(segmentation_file, tmp_path, settings):
    model = onnx.load(segmentation_file)
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA)
    entry.value = settings
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError) as error:
        OnnxSegmentation(tmp_path / "other.onnx")
    assert "\n" not in str(error.value)


def test_weights_in_other_files_are_not_read(tmp_path, monkeypatch):
    weights = onnx.numpy_helper.from_array(np.ones((3, 3), np.float32), "w")
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1, 3]) for name in ("x", "y")]
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9
    )
    onnx.helper.set_model_props(model, {METADATA: '{"kind": "segmentation"}'})
    path = tmp_path / "a.onnx"
    onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="w.bin")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="cannot be read as an ONNX file"):
        OnnxSegmentation(path)


def test_other_classes_than_ours_are_refused(segmentation_file, tmp_path):
    model = onnx.load(segmentation_file)
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA)
    entry.value = entry.value.replace(CLASSES[3], "sphere")
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match=r"knows the classes.*sphere"):
        OnnxSegmentation(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--segmentation", "nowhere.pt", "--output", "a.onnx"), "nowhere.pt"),
        (("--depth", "no where", "--output", "a.onnx"), "neither a folder"),
        (("--depth", "no where", "--output", "a.pt"), "must end in .onnx"),
        (("--depth", "no where", "--output", "a.onnx", "--frame_size", "big"), "as in 640x480"),
    ],
)
def test_mistakes_in_an_export_are_one_line_and_leave_nothing(
    words, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as error:
        call(export_command, *words)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_benchmark_has_a_row_per_network_runtime_and_thread_count(
    folder, depth, depth_file, segmentation_file, monkeypatch
):
    def copy_of(exported):
        return lambda inference, path, *frame: shutil.copy(exported, path)

    monkeypatch.setattr(latency, "export_depth", copy_of(depth_file))
    monkeypatch.setattr(latency, "export_segmentation", copy_of(segmentation_file))
    threads = torch.get_num_threads()
    networks = ("--segmentation", folder / "best.pt", "--depth", folder / "tiny")
    words = ("--frame_size", "160x120", "--input_sizes", "56", "--threads", "1", "2")
    printed = call(benchmark_command, *networks, *words, "--seconds", "0.01")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    _, *rows = filter(None, cells)
    assert [row[:4] for row in rows] == [
        [network, size, runtime, count]
        for network, size in [
            ("segmentation", "96x64"),
            ("depth", "70x56"),
            ("both, to (2, 84, 84)", "96x64, 70x56"),
        ]
        for runtime in ("torch, cpu", "onnx")
        for count in ("1", "2")
    ]
    for *_, median, p95, _ in rows:
        assert 0 < float(median) <= float(p95)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no network to measure"),
        (("--depth", "untrained", "--threads", "0"), "--threads 0"),
        (("--depth", "untrained", "--frame_size", "640"), "as in 640x480"),
    ],
)
def test_mistakes_in_a_benchmark_are_one_line(words, message):
    with pytest.raises(UserError, match=message):
        call(benchmark_command, *words)


def test_a_frame_size_is_width_by_height():
    assert parse_frame_size("640x480") == (480, 640)
