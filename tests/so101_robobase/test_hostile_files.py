"""A damaged or hostile file of any kind is read or refused in one line: no traceback, no hang."""

import contextlib
import io
import os
import subprocess
import sys
import zlib

import cv2
import fuzz
import numpy as np
import pytest
from PIL import Image
from readers import KINDS, UNITS

from robobase.errors import UserError
from so101_robobase.arm import alignment as alignments
from so101_robobase.perception.coco import rasterize
from so101_robobase.perception.folder import LabelledPictures
from so101_robobase.perception.segmentation.sources import open_source
from so101_robobase.robot.align.overlay import load_frames
from so101_robobase.robot.recording.episode_log import EpisodeLog
from so101_robobase.vision import picture_files
from so101_robobase.vision.picture_files import read_mask, read_picture

BOMB = "b0: &b0 [x]\n" + "".join(
    f"b{k}: &b{k} [{', '.join([f'*b{k - 1}'] * 9)}]\n" for k in range(1, 12)
)
"""9^11 entries in 500 letters."""


@pytest.mark.parametrize("name", KINDS)
def test_a_few_damaged_files_of_each_kind(name, tmp_path):
    assert fuzz.faults_of(name, tmp_path, 8, seed=0) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_many_damaged_files_of_each_kind(name, tmp_path):
    """In a process of its own with 3 GiB of memory."""
    command = [sys.executable, fuzz.__file__, str(tmp_path), "400", "1", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("what", ["pipe", "zeros", "folder", "empty", "huge", "random"])
def test_what_is_no_such_file_at_all(name, what, tmp_path):
    path = KINDS[name].make(tmp_path)
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "zeros":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    elif what == "empty":
        path.touch()
    elif what == "huge":
        path.touch()
        os.truncate(path, 2**42)  # takes no room
    else:
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    if (name, what) == ("metrics", "empty") or (name == "overrides" and what != "random"):
        with contextlib.suppress(UserError):  # may be empty or missing
            KINDS[name].read(path)
    else:
        with pytest.raises(UserError):
            KINDS[name].read(path)


@pytest.mark.parametrize(
    "name", ["alignment", "limits", "faults", "class map", "dataset.yaml", "segmentation settings"]
)
@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "[" * 10_000,
        "a: ",
        "!!python/object/apply:os.system ['touch ran']",
        "? [a]\n: 1",
    ],
    ids=["alias bomb", "nesting", "nothing", "python", "odd key"],
)  # fmt: skip
def test_yaml_bombs(name, text, tmp_path):
    path = KINDS[name].make(tmp_path)
    path.write_text(text)
    with pytest.raises(UserError):
        KINDS[name].read(path)
    assert not (tmp_path / "ran").exists()


def test_postscript_is_not_run_whatever_its_name(tmp_path, monkeypatch):
    def started(*args, **options):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    for name in ("a.png", "a.jpg", "a.eps"):
        path = tmp_path / name
        path.write_bytes(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshow\n"
        )
        for read in (read_picture, read_mask):
            with pytest.raises(UserError, match="no PNG, JPEG, BMP or WebP"):
                read(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_pictures_that_are_cut_short_are_refused(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    assert read_picture(path).shape == (64, 64, 3)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"is broken"):
        read_picture(path)


@pytest.mark.parametrize("size", [(20_000, 20_000), (13_000, 13_000), (2**31 - 1, 1)])
def test_large_pictures_are_refused_before_they_are_unpacked(size, tmp_path):
    """A PNG header says how large it is; the picture itself is not there."""
    content = bytearray(_png(1, 1))
    content[16:24] = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big")
    import zlib

    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    for read in (read_picture, read_mask):
        with pytest.raises(UserError, match=r"more than 16.8 million pixels"):
            read(tmp_path / "a.png")


def _jpeg(**options) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (64, 64), 128).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def _scans(count: int) -> bytes:
    """A progressive picture whose last scan, which goes over every pixel, comes again and again."""
    good = _jpeg(progressive=True)
    return good[:-2] + good[good.rindex(b"\xff\xda") : -2] * count + good[-2:]


def _in_pieces(good: bytes, at: int, piece: bytes, count: int) -> bytes:
    return good[:at] + piece * count + good[at:]


PIECES = {
    "scans": lambda count: _scans(count // 100),
    "segments": lambda count: _in_pieces(_jpeg(), 2, b"\xff\xe1\0\2", count),
    "filling": lambda count: _in_pieces(_jpeg(), 2, b"\xff", count),
    "junk": lambda count: _in_pieces(_jpeg(), 2, b"a", count),
    "junk in what looks like a segment": lambda count: _in_pieces(
        _jpeg(), 2, b"\xff\xf0\xff\xff" + bytes(2**16 - 3), count // 2**13
    ),
    "chunks": lambda count: _in_pieces(
        _png(64, 64), 33, bytes(4) + b"aaAa" + zlib.crc32(b"aaAa").to_bytes(4, "big"), count
    ),
}


@pytest.mark.parametrize("form", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("read", [read_picture, read_mask])
def test_a_picture_in_countless_pieces_is_not_decoded(form, read, tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(form(20_000))
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(UserError, match="in more pieces than pictures are"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("form", ["scans", "segments", "filling"])
def test_a_picture_in_a_few_more_pieces_is_read(form, tmp_path):
    (tmp_path / "a.jpg").write_bytes(PIECES[form](500))
    assert read_picture(tmp_path / "a.jpg").shape == (64, 64, 3)


def test_the_largest_picture_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_files, "MOST_PIXELS", 64)
    (tmp_path / "a.png").write_bytes(_png(8, 8))
    assert read_picture(tmp_path / "a.png").shape == (8, 8, 3)
    (tmp_path / "a.png").write_bytes(_png(9, 8))
    with pytest.raises(UserError):
        read_picture(tmp_path / "a.png")


def test_a_list_of_addresses_is_no_video(tmp_path):
    (tmp_path / "secret.png").write_bytes(_png(8, 8))
    for text in (
        "#EXTM3U\n#EXTINF:1,\nfile:secret.png\n",
        "ffconcat version 1.0\nfile secret.png\n",
    ):
        (tmp_path / "a.mp4").write_text(text)
        with pytest.raises(UserError, match="no video"):
            open_source(str(tmp_path / "a.mp4"))


def test_times_and_joints_that_no_arm_has_are_refused(tmp_path):
    joints = np.zeros((3, 6))
    for times in ([0, 1, 1e18], [0, 0.02, 1e300], [0, 1, 5000]):
        with pytest.raises(UserError, match="lasts"):
            EpisodeLog(np.array(times), joints, joints)
    for cube in ([1e300] * 7, [0.0] * 7, "cube", [1, 2], [[1]] * 7):
        with pytest.raises(UserError, match="cube is"):
            EpisodeLog(np.arange(3.0), joints, joints, {"cube": cube})
    with pytest.raises(UserError, match="a joint at"):
        EpisodeLog(np.arange(3.0), joints + 1e200, joints)


OUTLINES = [
    [[1e300] * 8],
    [[float("nan")] * 8],
    [[10**400] * 8],
    [[1, 2, 3, 4, 5, 6, 7]],
    [["a"] * 8],
    [[None] * 8],
    [[[1, 2]] * 8],
    [[0, 0, 5, 5] * 10_001],
    "polygon",
    {"size": [4, 4], "counts": [2**62, 2**62, 16]},
    {"size": [4, 4], "counts": [-1, 17]},
    {"size": [4, 4], "counts": [16.5]},
    {"size": [4, 4], "counts": {"a": 1}},
    {"size": [4, 4], "counts": "o" * 1000},
    {"size": [4, 4], "counts": "ä"},
    {"size": 4, "counts": [16]},
    {"size": [1e9, 1e9], "counts": [1e18]},
    {},
]


@pytest.mark.parametrize("outline", OUTLINES, ids=range(len(OUTLINES)))
def test_outlines_that_cannot_be_drawn_are_refused(outline):
    with pytest.raises(UserError, match="here: "):
        rasterize(outline, (4, 4), "here")


@pytest.fixture
def elsewhere(tmp_path):
    """A picture outside of the folder that tests hand over."""
    (tmp_path / "private").mkdir()
    (tmp_path / "private/a.png").write_bytes(_png(8, 8))
    return tmp_path / "private"


@pytest.mark.parametrize(
    "name", ["../private/a.png", "{private}/a.png", "link.png", "", None, 5, "a\0"]
)
def test_coco_and_frames_name_files_of_their_folder_only(name, elsewhere, tmp_path):
    import json

    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "link.png").symlink_to(elsewhere / "a.png")
    name = name.format(private=elsewhere) if isinstance(name, str) else name
    coco = {
        "images": [{"id": 1, "file_name": name, "width": 8, "height": 8}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 5, 0, 5, 5]]}],
        "categories": [{"id": 1, "name": "cube"}],
    }
    (folder / "annotations.json").write_text(json.dumps(coco))
    with pytest.raises(UserError):
        LabelledPictures(folder)
    frames = [{"picture": name, "joint_pos": [0.0] * 6}]
    (folder / "frames.json").write_text(json.dumps(frames))
    with pytest.raises(UserError):
        load_frames(folder, UNITS)


@pytest.mark.parametrize("part", ["images", "masks", "images/a.png", "masks/a.png", "classes.yaml"])
def test_mask_folders_do_not_lead_out(part, elsewhere, tmp_path):
    folder = tmp_path / "given"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.png").write_bytes(_png(8, 8))
    assert len(LabelledPictures(folder)) == 1
    path = folder / part
    if path.is_dir():
        (path / "a.png").unlink()
        path.rmdir()
    path.unlink(missing_ok=True)
    path.symlink_to(elsewhere if part in ("images", "masks") else elsewhere / "a.png")
    with pytest.raises(UserError, match="is a link out of"):
        LabelledPictures(folder)


def test_a_link_to_the_folder_itself_is_the_users_own(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / "there" / name).mkdir(parents=True)
        (tmp_path / "there" / name / "a.png").write_bytes(_png(8, 8))
    (tmp_path / "here").symlink_to(tmp_path / "there")
    assert LabelledPictures(tmp_path / "here")[0][1].shape == (8, 8)


def test_alignments_beyond_any_arm_are_refused(tmp_path):
    for text in (
        "zero: [1.0e+300, 0, 0, 0, 0]",
        "gripper_open: 1.0e+18",
        "camera: {pos: [1.0e+300, 0, 0], euler: [0, 0, 0], fovy: 70}",
        "camera: {pos: [0, 0, 0], euler: [0, 0, 1.0e+18], fovy: 70}",
        f"servos: {{stiffness: {[1e30] * 6}, damping: {[1] * 6}, joint_damping: {[1] * 6}, "
        f"joint_friction: {[1] * 6}, latency: 0}}",
    ):
        (tmp_path / "arm.yaml").write_text(text)
        with pytest.raises(UserError):
            alignments.load(tmp_path / "arm.yaml")


def _png(width: int, height: int) -> bytes:
    return cv2.imencode(".png", np.zeros((height, width), np.uint8))[1].tobytes()
