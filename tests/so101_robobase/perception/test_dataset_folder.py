"""Labelled folders from elsewhere: ids and colours become ours, and mistakes are told in a line."""

import pickle

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from robobase.errors import UserError
from so101_robobase.perception.folder import LabelledPictures
from so101_robobase.vision.observation import CLASSES, PALETTE

IDS = np.array([[0, 1, 2], [3, 4, 5]], np.uint8)
PICTURE = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


def put(folder, mask, name="a", picture=PICTURE):
    """Add one pair; the picture as PNG, so that it comes back as it was."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"images/{name}.png"), picture)
    mask = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    mask.save(folder / f"masks/{name}.png")
    return folder


def write_yaml(path, content):
    path.write_text(yaml.safe_dump(content))


def read_ids(folder, **options):
    return LabelledPictures(folder, **options)[0][1]


def test_ids_without_a_list_of_classes_are_ours_and_the_picture_is_bgr(tmp_path):
    data = LabelledPictures(put(tmp_path, IDS))
    picture, ids = data[0]
    np.testing.assert_array_equal(ids, IDS)
    np.testing.assert_array_equal(picture, PICTURE)
    assert ids.dtype == picture.dtype == np.uint8
    assert data.classes == CLASSES
    assert len(data) == 1


def test_of_a_palette_mask_the_indices_count_and_not_the_colours(tmp_path):
    mask = Image.fromarray(IDS)
    mask.putpalette(list(range(200, 218)))
    assert mask.mode == "P"
    np.testing.assert_array_equal(read_ids(put(tmp_path, mask)), IDS)


def test_a_list_of_classes_translates_ids_whatever_the_spelling(tmp_path):
    put(tmp_path, np.array([[0, 7, 255]], np.uint8), picture=PICTURE[:1])
    write_yaml(tmp_path / "classes.yaml", {"Background": 0, "Moving Finger": 7, "cube": 255})
    np.testing.assert_array_equal(read_ids(tmp_path), [[1, 5, 3]])


def test_masks_in_our_colours_or_in_listed_ones_are_read(tmp_path):
    put(tmp_path / "ours", PALETTE[IDS])
    np.testing.assert_array_equal(read_ids(tmp_path / "ours"), IDS)
    painted = np.array([[[1, 2, 3], [250, 0, 0], [1, 2, 3]]], np.uint8)
    put(tmp_path / "listed", painted, picture=PICTURE[:1])
    write_yaml(tmp_path / "listed/classes.yaml", {"table": [1, 2, 3], "cube": [250, 0, 0]})
    np.testing.assert_array_equal(read_ids(tmp_path / "listed"), [[2, 3, 2]])


@pytest.mark.parametrize("how", ["file in the folder", "file", "mapping"])
def test_foreign_names_are_mapped(tmp_path, how):
    put(tmp_path, np.array([[1, 2, 2]], np.uint8), picture=PICTURE[:1])
    write_yaml(tmp_path / "classes.yaml", {"Red Block": 1, "desk": 2})
    mapping = {"red block": "cube", "desk": "table"}
    name = "class_map.yaml" if how == "file in the folder" else "mine.yaml"
    write_yaml(tmp_path / name, mapping)
    given = {"file in the folder": None, "file": tmp_path / name, "mapping": mapping}[how]
    np.testing.assert_array_equal(read_ids(tmp_path, class_map=given), [[3, 2, 2]])


def test_a_folder_can_be_handed_to_loading_processes(tmp_path):
    data = pickle.loads(pickle.dumps(LabelledPictures(put(tmp_path, IDS))))
    np.testing.assert_array_equal(data[0][1], IDS)


def test_all_unknown_classes_are_named_with_the_way_out(tmp_path):
    write_yaml(put(tmp_path, IDS) / "classes.yaml", {"gripper": 0, "desk": 1, "cube": 2})
    with pytest.raises(UserError, match=r"'desk', 'gripper'.*class_map\.yaml") as caught:
        LabelledPictures(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_class_map_to_no_class_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"maps 'desk' to 'furniture'.*known: unlabeled"):
        LabelledPictures(put(tmp_path, IDS), {"desk": "furniture"})


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.array([[0, 6, 1]], np.uint8), r"holds id 6, which no class has; known: \[0, 1, 2"),
        (np.array([[0, 1000, 1]], np.uint16), "holds id 1000"),
        (np.zeros((1, 3, 3), np.uint8), "holds colour #000000.*ids in one channel"),
    ],
)
def test_a_mask_with_an_unknown_value_is_named(tmp_path, mask, message):
    data = LabelledPictures(put(tmp_path, mask, picture=PICTURE[:1]))
    with pytest.raises(UserError, match=message) as caught:
        data[0]
    assert "a.png" in str(caught.value)


@pytest.mark.parametrize("gone", ["images", "masks"])
def test_missing_partners_are_counted_and_the_first_named(tmp_path, gone):
    for name in ("a", "b", "c"):
        put(tmp_path, IDS, name)
    for name in ("b", "c"):
        (tmp_path / gone / f"{name}.png").unlink()
    with pytest.raises(UserError, match=r"for 2 of 3 files, the first is \w+/b.png"):
        LabelledPictures(tmp_path)


def test_two_pictures_of_one_name_are_refused(tmp_path):
    put(tmp_path, IDS)
    (tmp_path / "images/a.jpg").touch()
    with pytest.raises(UserError, match="one name"):
        LabelledPictures(tmp_path)


def test_pictures_and_masks_of_different_sizes_are_refused(tmp_path):
    data = LabelledPictures(put(tmp_path, IDS, picture=np.zeros((4, 6, 3), np.uint8)))
    with pytest.raises(UserError, match="is 6x4, its labels 3x2"):
        data[0]


def test_half_a_jpeg_and_a_mask_that_is_none_are_broken(tmp_path):
    rng = np.random.default_rng(0)
    big = rng.integers(0, 255, (64, 64, 3), np.uint8)
    put(tmp_path, np.zeros((64, 64), np.uint8), picture=big)
    whole = cv2.imencode(".jpg", big)[1].tobytes()
    (tmp_path / "images/a.png").unlink()
    (tmp_path / "images/a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"a\.jpg is broken"):
        LabelledPictures(tmp_path)[0]
    (tmp_path / "images/a.jpg").write_bytes(whole)
    (tmp_path / "masks/a.png").write_text("no picture")
    with pytest.raises(UserError, match=r"a\.png is broken"):
        LabelledPictures(tmp_path)[0]


def test_empty_and_absent_folders_say_what_was_expected(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        LabelledPictures(tmp_path / "nowhere")
    with pytest.raises(UserError, match="it needs images/ and masks/"):
        LabelledPictures(tmp_path)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        LabelledPictures(tmp_path)


@pytest.mark.parametrize("value", ["red", -1, 300, [1, 2], [1, 2, 999], True, None])
def test_a_list_of_classes_with_nonsense_is_refused(tmp_path, value):
    write_yaml(put(tmp_path, IDS) / "classes.yaml", {"cube": value})
    with pytest.raises(UserError, match="must be an id from 0 to 255"):
        LabelledPictures(tmp_path)
