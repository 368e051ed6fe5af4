"""What a person names as output appears whole, in place of nothing else than its own kind."""

import os
import stat

import cv2
import numpy as np
import pytest
from readers import KINDS

from robobase.errors import UserError
from so101_robobase.base.cli import main
from so101_robobase.base.files import MARK, checked_output, inside, remove_unfinished, written_whole
from so101_robobase.perception.coco import export_coco
from so101_robobase.perception.segmentation.output import picture_files, video_file
from so101_robobase.vision.picture_files import read_mask, read_picture, write_png


@pytest.fixture
def taken(tmp_path):
    """What stands where an output is to go: name -> path."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "precious.png")
    (tmp_path / "precious.png").write_bytes(cv2.imencode(".png", np.eye(8, dtype=np.uint8))[1])
    return tmp_path


def unchanged(folder):
    """What is there, and what it is."""
    return {
        path.name: path.read_bytes() if path.is_file() else stat.S_IFMT(path.lstat().st_mode)
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("name", ["pipe.png", "folder.png", "link.png"])
def test_what_is_no_regular_file_stays(taken, name):
    before = unchanged(taken)
    with pytest.raises(UserError, match="not written over"), written_whole(taken / name) as path:
        path.write_text("mine")
    assert unchanged(taken) == before


def test_a_device_stays(taken):
    if os.geteuid() != 0:
        pytest.skip("only root can make a device node")
    try:
        os.mknod(taken / "device.png", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except OSError as error:
        pytest.skip(f"no device nodes here: {error}")
    with pytest.raises(UserError, match="is a device"):
        write_png(taken / "device.png", np.zeros((4, 4), np.uint8))
    assert stat.S_ISCHR((taken / "device.png").stat().st_mode)


@pytest.mark.parametrize("name", ["pipe.png", "folder.png", "link.png", "precious.png"])
def test_compare_refuses_such_outputs_in_one_line(taken, name, capsys):
    KINDS["evaluations"].make(taken.parent / "runs")
    before = unchanged(taken)
    run, output = str(taken.parent / "runs/run"), str(taken / name)
    assert main(["runs", "compare", run, "--output", output]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert unchanged(taken) == before


def test_compare_replaces_its_own_picture_in_each_format(tmp_path):
    KINDS["evaluations"].make(tmp_path)
    for suffix in ("png", "pdf", "svg"):
        for _ in range(2):
            output = tmp_path / f"curves.{suffix}"
            assert main(["runs", "compare", str(tmp_path / "run"), "--output", str(output)]) == 0
            assert checked_output(output) == output


def test_a_link_that_a_person_names_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "here.yaml").symlink_to(tmp_path / "there/arm.yaml")
    assert checked_output(tmp_path / "here.yaml") == tmp_path / "there/arm.yaml"


@pytest.mark.parametrize("name", ["a/b.png", "file/b.png", "x" * 300 + ".png", "a\0.png", "a.txt"])
def test_outputs_that_cannot_be_written_are_refused_before_any_work(name, tmp_path):
    (tmp_path / "file").write_text("")
    if name == "a/b.png":
        assert checked_output(tmp_path / name, [".png"]) == tmp_path / name  # will be made
        return
    with pytest.raises(UserError):
        checked_output(tmp_path / name, [".png"])


def test_pictures_are_marked_and_read_back(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    for _ in range(2):
        write_png(tmp_path / "a.png", picture, own=True)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), picture)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png")), picture)
    ids = picture[..., 0] % 6
    write_png(tmp_path / "ids.png", ids)
    np.testing.assert_array_equal(read_mask(tmp_path / "ids.png"), ids)
    assert MARK.encode() in (tmp_path / "a.png").read_bytes()


def test_segmented_pictures_do_not_replace_what_was_segmented(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.eye(8, dtype=np.uint8))
    with picture_files(tmp_path) as write, pytest.raises(UserError, match="was not written by"):
        write("a", np.zeros((8, 8), np.uint8))
    assert read_mask(tmp_path / "a.png").sum() == 8


def test_a_segmented_video_does_not_replace_what_was_segmented(tmp_path):
    KINDS["MP4"].make(tmp_path)
    before = (tmp_path / "a.mp4").read_bytes()
    with (
        pytest.raises(UserError, match="was not written by"),
        video_file(tmp_path / "a.mp4", 10) as write,
    ):
        write("", np.zeros((32, 32, 3), np.uint8))
    assert (tmp_path / "a.mp4").read_bytes() == before
    for _ in range(2):  # its own may be replaced
        with video_file(tmp_path / "b.mp4", 10) as write:
            write("", np.zeros((32, 32, 3), np.uint8))


def test_exported_annotations_replace_annotations_that_were_exported(tmp_path):
    pair = [(tmp_path / "a.png", np.ones((4, 4), np.uint8))]
    for _ in range(2):
        export_coco(pair, tmp_path / "coco.json")
    (tmp_path / "other.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(UserError, match="was not written by"):
        export_coco(pair, tmp_path / "other.json")


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "link", "link/a", "b/../../a", "\0"])
def test_names_do_not_lead_out_of_a_folder(name, tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given/link").symlink_to(tmp_path)
    with pytest.raises(UserError):
        inside(tmp_path / "given", name)


def test_names_within_a_folder_are_found(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    assert inside(tmp_path, "b/c") == inside(tmp_path, "link/c") == tmp_path / "b/c"


def test_only_what_a_killed_write_left_is_cleared(tmp_path):
    kept = [".keep.tmp.me", "a.1.tmp.png", ".b.12.tmp"]
    for name in (".a.12.tmp.png", *kept[:2]):
        (tmp_path / name).touch()
    (tmp_path / kept[2]).mkdir()
    remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
