"""Rendered datasets: a picture is its number's alone, and interrupted work can be gone on with."""

import argparse
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import yaml

from robobase.errors import UserError
from so101_robobase.arm.alignment import Alignment, CameraPose, save
from so101_robobase.perception import dataset_command
from so101_robobase.perception.contact_sheet import contact_sheet
from so101_robobase.perception.dataset import DatasetSettings, Painter, generate, pool_label
from so101_robobase.perception.folder import LabelledPictures
from so101_robobase.perception.scenes import Pool
from so101_robobase.sim.renderer import make_renderer
from so101_robobase.sim.scene import SceneConfig, build_scene
from so101_robobase.vision.observation import CLASSES, PALETTE

SETTINGS = DatasetSettings.randomized(width=64, height=48, seed=3)


def small_pool():
    """Arms above the table, cubes on it; simulating a real pool takes too long here."""
    rng = np.random.default_rng(0)
    qpos = np.tile([0, -0.2, 0.4, 1.2, 1.5, 0.8, 0.25, 0, 0.015, 1, 0, 0, 0], (8, 1))
    qpos[:, :6] += rng.normal(0, 0.1, (8, 6))
    return Pool(qpos, np.full(8, 0.015))


def prepare(output, settings=SETTINGS):
    """Puts the small pool where `generate` looks for one."""
    small_pool().save(output / "states.npz", pool_label(settings))
    return output


@pytest.fixture(scope="module")
def painter(opengl):
    painter = Painter(SETTINGS, small_pool())
    yield painter
    painter.close()


@pytest.fixture(scope="module")
def generated(opengl, tmp_path_factory):
    output = prepare(tmp_path_factory.mktemp("dataset"))
    assert generate(output, 5, SETTINGS, workers=1) == 5
    return output


def files(output):
    return {
        path.relative_to(output).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for kind in ("images", "masks")
        for path in (output / kind).iterdir()
    }


def test_a_dataset_holds_what_the_painter_paints(generated, painter):
    data = LabelledPictures(generated)
    assert len(data) == 5
    rgb, ids = painter.paint(range(5))
    for k, (picture, mask) in enumerate(data):
        np.testing.assert_array_equal(mask, ids[k])
        assert np.abs(picture[..., ::-1].astype(int) - rgb[k]).mean() < 6  # JPEG
    assert {2, 3} <= set(np.unique(ids)) <= set(range(6))


def test_a_dataset_says_what_it_was_made_with(generated):
    written = yaml.safe_load((generated / "dataset.yaml").read_text())
    assert written["classes"] == list(CLASSES)
    assert (written["width"], written["height"], written["num_images"]) == (64, 48, 5)
    assert written["visual"]["camera_position"] == 0.025
    assert written["made_with"]["mujoco"]


def test_a_picture_does_not_depend_on_those_made_with_it(painter):
    rgb, ids = painter.paint(range(5))
    for k in (4, 2):
        alone, alone_ids = painter.paint([k])
        np.testing.assert_array_equal(alone[0], rgb[k])
        np.testing.assert_array_equal(alone_ids[0], ids[k])
    assert len({picture.tobytes() for picture in rgb}) == 5


def test_what_is_missing_is_made_again_the_same_and_nothing_else(generated):
    before = files(generated)
    (generated / "images/000001.jpg").unlink()
    (generated / "masks/000003.png").unlink()
    (generated / "masks/.000003.77.tmp.png").touch()  # as a killed process leaves it
    assert generate(generated, 6, SETTINGS, workers=1) == 3
    after = files(generated)
    assert after.keys() - before.keys() == {"images/000005.jpg", "masks/000005.png"}
    for name, (time_written, content) in before.items():
        assert after[name][1] == content
        assert (after[name][0] == time_written) == (name[-10:-4] not in ("000001", "000003"))


def test_a_dataset_in_the_making_can_be_read(tmp_path, generated):
    (tmp_path / "dataset.yaml").write_bytes((generated / "dataset.yaml").read_bytes())
    for kind, names in (("images", ["000000.jpg"]), ("masks", ["000000.png", "000001.png"])):
        (tmp_path / kind).mkdir()
        for name in names:
            (tmp_path / kind / name).write_bytes((generated / kind / name).read_bytes())
    assert len(LabelledPictures(tmp_path)) == 1


def test_a_dataset_of_other_settings_is_left_alone(generated):
    before = files(generated)
    for settings, changed in [
        (DatasetSettings.randomized(width=64, height=48, seed=4), "seed: 3 there, 4 now"),
        (DatasetSettings.randomized(width=32, height=48, seed=3), "width: 64 there, 32 now"),
        (DatasetSettings.randomized(1.2, width=64, height=48, seed=3), "visual.camera_position"),
        (DatasetSettings(width=64, height=48, seed=3), "visual.enabled"),
    ]:
        with pytest.raises(UserError, match=changed):
            generate(generated, 6, settings, workers=1)
    with pytest.raises(UserError, match="more than num_images=2"):
        generate(generated, 2, SETTINGS, workers=1)
    assert files(generated) == before


def test_somebody_elses_pictures_are_left_alone(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match=r"pictures but no dataset\.yaml"):
        generate(tmp_path, 1, SETTINGS, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_dataset_of_another_format_is_refused(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    (tmp_path / "images/000000.jpg").touch()
    (tmp_path / "masks/000000.png").touch()
    (tmp_path / "dataset.yaml").write_text("format: 99\n")
    with pytest.raises(UserError, match="has format 99; this version reads 1"):
        LabelledPictures(tmp_path)


def test_an_error_of_a_worker_reaches_the_user(tmp_path, monkeypatch):
    prepare(tmp_path)
    monkeypatch.setenv("MUJOCO_GL", "off")
    with pytest.raises(UserError, match="MUJOCO_GL=off"):
        generate(tmp_path, 1, SETTINGS, workers=1)


@pytest.mark.opengl
def test_held_out_ranges_are_wider_and_no_randomization_has_none():
    wide, narrow = (DatasetSettings.randomized(widen) for widen in (1.2, 1.0))
    assert wide.visual.camera_rotation == pytest.approx(1.2 * narrow.visual.camera_rotation)
    assert narrow.physical.cube_edge == pytest.approx((0.024, 0.036))
    assert wide.physical.cube_edge == pytest.approx((0.0228, 0.0372))
    plain = DatasetSettings(width=64, height=48)
    painter = Painter(plain, small_pool())
    qpos, looks, _ = painter.draw([0, 1])
    assert looks is None
    renderer = make_renderer("gl", build_scene(), 48, 64)
    np.testing.assert_array_equal(painter.paint([0, 1])[0], renderer.render_rgb(qpos))
    painter.close()
    renderer.close()


@pytest.mark.opengl
def test_an_alignment_moves_the_camera_that_looks_vary_about(tmp_path):
    moved = CameraPose((0.02, -0.06, 0.03), (0.1, 0.2, -0.1), 60.0)
    alignment, dataset = tmp_path / "arm.yaml", tmp_path / "data"
    save(Alignment(camera=moved), alignment)
    dataset.mkdir()
    prepare(dataset, DatasetSettings(width=64, height=48))
    words = ["--output", dataset, "--size", "64x48", "--no_randomization", "--workers", "1"]
    assert command(*words, "--num_images", "2", "--alignment", alignment) == 0
    scene = build_scene(
        SceneConfig(camera_pos=moved.pos, camera_euler=moved.euler, camera_fovy=moved.fovy)
    )
    qpos, _, half_size = _drawn(DatasetSettings(width=64, height=48), [0, 1])
    renderer = make_renderer("gl", scene, 48, 64)
    ids = renderer.render(qpos, None, half_size)[0]
    renderer.close()
    for k, (_, mask) in enumerate(LabelledPictures(dataset)):
        np.testing.assert_array_equal(mask, ids[k])
    with pytest.raises(UserError, match="camera"):
        command(*words, "--num_images", "2")
    save(Alignment(), alignment)
    with pytest.raises(UserError, match="holds no camera; measure it: `robot align camera`"):
        command(*words, "--num_images", "2", "--alignment", alignment)


def _drawn(settings, indices):
    painter = Painter(settings, small_pool())
    drawn = painter.draw(indices)
    painter.close()
    return drawn


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"width": 8}, "size 8x480"), ({"height": 9000}, "size 640x9000"), ({"seed": -1}, "seed=-1")],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        DatasetSettings(**settings)


def test_a_contact_sheet_shows_pictures_of_any_shape_beside_their_classes():
    red = np.zeros((30, 40, 3), np.uint8)
    red[..., 2] = 255
    pairs = [(red, np.full((30, 40), 3, np.uint8)), (red[:, :20], np.full((30, 20), 1, np.uint8))]
    sheet = contact_sheet(pairs)
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 3
    colours = {tuple(colour) for colour in sheet.reshape(-1, 3).tolist()}
    assert {(255, 0, 0), tuple(PALETTE[3].tolist()), tuple(PALETTE[1].tolist())} <= colours
    with pytest.raises(UserError, match="at least one picture"):
        contact_sheet([])


def command(*words):
    parser = argparse.ArgumentParser()
    dataset_command.configure(parser)
    return dataset_command.run(parser.parse_args([str(word) for word in words]))


def test_the_command_checks_exports_and_reads_back_what_it_exported(generated, tmp_path, capsys):
    assert command("--check", generated, "--output", tmp_path) == 0
    assert "pictures of 64x48" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "contact_sheet.png")) is not None
    file = generated / "annotations.json"
    assert command("--export_coco", generated, file) == 0
    ours, coco = LabelledPictures(generated), LabelledPictures(file)
    assert len(ours) == len(coco)
    for (picture, ids), (same_picture, same_ids) in zip(ours, coco, strict=True):
        np.testing.assert_array_equal(ids, same_ids)
        np.testing.assert_array_equal(picture, same_picture)
    file.unlink()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--output DIR"),
        (["--output", "x", "--size", "big"], "'big' must be width x height"),
        (["--output", "x", "--no_randomization", "--widen", "2"], "--no_randomization has none"),
        (["--output", "x", "--preview", "0"], "--preview 0"),
        (["--output", "x", "--num_images", "0"], "--num_images 0"),
        (["--output", "x", "--workers", "0"], "--workers 0"),
        (["--check", "nowhere"], "nowhere does not exist"),
    ],
)
def test_bad_words_are_told_before_anything_is_written(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        command(*words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.opengl
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGKILL]
)
def test_a_stopped_command_leaves_whole_files_and_no_processes_and_can_be_repeated(
    tmp_path, number
):
    prepare(tmp_path)
    words = ["--output", tmp_path, "--num_images", "480", "--size", "64x48", "--seed", "3"]
    line = [sys.executable, "-m", "so101_robobase", "segmentation", "dataset", *map(str, words)]
    process = subprocess.Popen([*line, "--workers", "2"], stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("images/*.jpg")):
        time.sleep(0.05)
        assert process.poll() is None
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    process.send_signal(number)
    assert process.wait(60) == {signal.SIGKILL: -9}.get(number, 128 + number)
    deadline = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{child}") for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    if number != signal.SIGKILL:
        assert not list(tmp_path.rglob(".*"))
        assert len(LabelledPictures(tmp_path)) < 480
    subprocess.run([*line, "--workers", "1"], check=True, capture_output=True)
    assert len(LabelledPictures(tmp_path)) == 480
