import shutil
from pathlib import Path

import cv2
import imageio.v2 as imageio
import numpy as np
import pytest
import torch

from robobase.errors import UserError
from so101_robobase.base.cli import main
from so101_robobase.perception.segmentation import checkpoint
from so101_robobase.perception.segmentation.inference import SegmentationInference
from so101_robobase.perception.segmentation.model import ModelSpec, SegmentationNetwork
from so101_robobase.vision.observation import PALETTE

pytest.importorskip("segmentation_models_pytorch")
pytest.importorskip("timm")

FPN = {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32}


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(ModelSpec("fpn", "tu-efficientvit_b0", (64, 96), FPN)).eval()


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "best.pt"
    checkpoint.save(path, network, {"iou": 0.5})
    return path


@pytest.fixture
def frame() -> np.ndarray:
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (160, 120))


def altered(path, tmp_path, **changes):
    content = torch.load(path, weights_only=True)
    torch.save({**content, **changes}, tmp_path / "altered.pt")
    return tmp_path / "altered.pt"


def test_a_loaded_network_predicts_what_the_saved_one_did(network, saved, frame):
    loaded = checkpoint.load_network(saved)
    pictures = torch.from_numpy(cv2.resize(frame, (96, 64))).permute(2, 0, 1)[None].float()
    assert torch.equal(loaded(pictures), network(pictures))
    assert not loaded.training
    assert checkpoint.read(saved)["metrics"] == {"iou": 0.5}


@pytest.mark.parametrize("size", [(120, 160), (480, 640), (720, 1280)])
def test_masks_have_the_frame_s_size_and_known_ids(saved, frame, size):
    ids = SegmentationInference(saved).predict(cv2.resize(frame, size[::-1]))
    assert ids.shape == size
    assert ids.dtype == np.uint8
    assert ids.max() <= 5


def test_prediction_leaves_the_frame_alone_and_repeats_itself(saved, frame):
    inference, before = SegmentationInference(saved), frame.copy()
    first, second = inference.predict(frame), inference.predict(frame)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_what_is_no_frame_is_refused(saved, bad):
    with pytest.raises(UserError, match="frame"):
        SegmentationInference(saved).predict(bad)


def test_bad_checkpoints_are_told_apart_in_one_line(saved, tmp_path):
    torch.save({"agent": {}}, tmp_path / "policy.pt")
    (tmp_path / "truncated.pt").write_bytes(saved.read_bytes()[:-2000])
    (tmp_path / "text.pt").write_text("hello")
    damaged = bytearray(saved.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    (tmp_path / "damaged.pt").write_bytes(damaged)
    unet = {"decoder": "unet", "decoder_options": {}}
    other = checkpoint.read(saved)["model"] | unet
    cases = {
        tmp_path / "missing.pt": "does not exist",
        tmp_path / "policy.pt": "no checkpoint of a segmentation network .it holds agent",
        tmp_path / "truncated.pt": "truncated",
        tmp_path / "text.pt": "truncated or not of torch.save",
        tmp_path / "damaged.pt": "damaged",
        altered(saved, tmp_path, model=other): "another architecture than unet",
    }
    for path, message in cases.items():
        with pytest.raises(UserError, match=message) as caught:
            checkpoint.load_network(path)
        assert "\n" not in str(caught.value)
    for change, message in (({"format": 99}, "format 99"), ({"classes": ["cube"]}, "train anew")):
        with pytest.raises(UserError, match=message):
            checkpoint.load_network(altered(saved, tmp_path, **change))


@pytest.mark.parametrize(("encoder", "channels"), [("tu-efficientvit_b0", 8), ("mit_b0", 32)])
def test_a_small_network_that_takes_much_for_a_picture_is_refused(encoder, channels, tmp_path):
    options = {} if encoder.startswith("mit") else {"decoder_channels": channels}
    decoder = "segformer" if encoder.startswith("mit") else "upernet"
    spec = ModelSpec(decoder, encoder, (64, 64), options)
    checkpoint.save(tmp_path / "good.pt", SegmentationNetwork(spec), {})
    assert checkpoint.load_network(tmp_path / "good.pt").spec == spec
    model = spec.state_dict() | {"decoder_options": options | {"upsampling": 2048}}
    with pytest.raises(UserError, match=r"takes .* MiB at once for a picture of 64 x 64"):
        checkpoint.load_network(altered(tmp_path / "good.pt", tmp_path, model=model))


def test_a_failed_write_leaves_the_old_checkpoint(saved, network, tmp_path, monkeypatch):
    path = tmp_path / "best.pt"
    path.write_bytes(saved.read_bytes())

    def fail(content, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, network, {})
    assert path.read_bytes() == saved.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["best.pt"]


def infer(source, saved, output, *options: str) -> int:
    arguments = ["segmentation", "infer", str(source), "--checkpoint", str(saved)]
    return main([*arguments, "--output", str(output), "--device", "cpu", *options])


def test_infer_writes_overlays_and_ids_of_a_folder(saved, frame, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(folder / f"{name}.png"), frame)
    expected = SegmentationInference(saved).predict(frame)
    assert infer(folder, saved, tmp_path / "ids", "--ids") == 0
    for name in ("a", "b"):
        ids = cv2.imread(str(tmp_path / f"ids/{name}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(ids, expected)
    assert infer(folder / "a.png", saved, tmp_path / "overlay") == 0
    overlay = cv2.imread(str(tmp_path / "overlay/a.png")).astype(int)
    blended = (frame.astype(int) + PALETTE[expected][..., ::-1]) / 2
    assert np.abs(overlay - blended).max() <= 1


def test_infer_does_not_write_over_what_it_wrote_before(
    saved, frame, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", frame)
    assert infer("a.png", saved, "out", "--ids") == 0
    before = Path("out/a.png").read_bytes()
    assert infer("a.png", saved, "out") == 2
    assert (
        "out holds *.png of another call already; name another --output" in capsys.readouterr().err
    )
    assert Path("out/a.png").read_bytes() == before
    for _ in range(2):
        assert main(["segmentation", "infer", "a.png", "--checkpoint", str(saved)]) == 0
    assert len(list(Path("runs/segmented").glob("*/a.png"))) == 2


def test_infer_writes_a_video_of_a_video(saved, frame, tmp_path):
    source = tmp_path / "source.mp4"
    imageio.mimwrite(source, [frame[..., ::-1]] * 5, fps=10, macro_block_size=2)
    assert infer(source, saved, tmp_path / "out", "--max_frames", "3") == 0
    reader = imageio.get_reader(tmp_path / "out/source.mp4")
    assert reader.count_frames() == 3
    assert reader.get_meta_data()["fps"] == pytest.approx(10)
    assert infer(source, saved, tmp_path / "out", "--ids", "--max_frames", "2") == 0
    assert sorted(p.name for p in (tmp_path / "out/source").iterdir()) == [
        "000000.png", "000001.png",
    ]  # fmt: skip


def test_infer_says_in_one_line_what_is_wrong_with_its_source(saved, tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    cases = {
        tmp_path / "missing.png": "does not exist",
        tmp_path / "empty": "holds no pictures",
        tmp_path / "broken.png": "broken or no PNG, JPEG, BMP or WebP",
        tmp_path / "broken.mp4": "broken or no video",
        "99": "camera 99 cannot be opened",
    }
    for source, message in cases.items():
        assert infer(source, saved, tmp_path / "out") == 2
        errors = [x for x in capfd.readouterr().err.splitlines() if x.startswith("so101_robobase")]
        assert len(errors) == 1
        assert message in errors[0]
    assert infer("0", tmp_path / "no.pt", tmp_path / "out") == 2
    assert "no.pt does not exist" in capfd.readouterr().err


def test_an_unplugged_camera_keeps_what_was_recorded(saved, frame, tmp_path, monkeypatch, capfd):
    class Unplugged:
        def __init__(self, index):
            self.left = 4

        def isOpened(self):
            return True

        def get(self, _):
            return 15.0

        def read(self):
            self.left -= 1
            return (True, frame) if self.left >= 0 else (False, None)

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Unplugged)
    assert infer("0", saved, tmp_path) == 2
    assert "camera 0 gives no more pictures after 4" in capfd.readouterr().err
    assert imageio.get_reader(tmp_path / "camera_0.mp4").count_frames() == 4


@pytest.mark.parametrize("in_a_run", [True, False])
def test_evaluate_writes_its_tables_into_the_run_of_the_checkpoint_or_into_runs(
    in_a_run, saved, frame, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "training").mkdir()
    network = shutil.copy(saved, tmp_path / "training")
    if in_a_run:
        (tmp_path / "training/versions.json").write_text("{}")
    for part, picture in (("images", frame), ("masks", np.full((120, 160), 2, np.uint8))):
        (tmp_path / "real" / part).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "real" / part / "0.png"), picture)
    import argparse

    from so101_robobase.perception import evaluate_command

    parser = argparse.ArgumentParser()
    evaluate_command.configure(parser)
    args = parser.parse_args([str(network), str(tmp_path / "real"), "--device", "cpu"])
    assert evaluate_command.run(args) == 0
    folder = "training" if in_a_run else "runs/best"
    assert Path(folder, "evaluation_real/iou.csv").is_file()
    assert "1 pictures" in capsys.readouterr().out


def test_the_package_offers_the_class():
    from so101_robobase import perception

    assert perception.SegmentationInference is SegmentationInference
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        perception.Nonsense  # noqa: B018
