"""COCO files: outlines and run lengths mean the pixels that COCO says, both ways."""

import json

import cv2
import numpy as np
import pytest
import yaml

from robobase.errors import UserError
from so101_robobase.perception.coco import export_coco, rasterize, run_lengths
from so101_robobase.perception.folder import LabelledPictures

SHAPE = (12, 16)
SQUARE = [2, 3, 8, 3, 8, 7, 2, 7]  # columns 2 to 7, rows 3 to 6


def write_coco(folder, annotations, categories=None, name="_annotations.coco.json", pictures=1):
    """A COCO file with pictures 1, 2, … that are black."""
    height, width = SHAPE
    images = []
    for number in range(1, pictures + 1):
        file_name = f"{number}.png"
        cv2.imwrite(str(folder / file_name), np.zeros((*SHAPE, 3), np.uint8))
        images.append({"id": number, "file_name": file_name, "height": height, "width": width})
    categories = categories or {1: "table", 2: "cube"}
    content = {
        "images": images,
        "categories": [{"id": number, "name": each} for number, each in categories.items()],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": 1, "iscrowd": 0, **each}
            for k, each in enumerate(annotations)
        ],
    }
    (folder / name).write_text(json.dumps(content))
    return folder


def as_text(counts):
    """COCO's text form of run lengths, as rleToString of its C library writes it."""
    text = ""
    for k, value in enumerate(counts):
        value = value - counts[k - 2] if k > 2 else value
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr(48 + (bits | 0x20 if more else bits))
    return text


def random_ids(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 6, shape).astype(np.uint8)


def test_what_is_exported_comes_back_bit_for_bit(tmp_path):
    (tmp_path / "images").mkdir()
    pairs = []
    for k in range(3):
        path = tmp_path / f"images/{k}.png"
        cv2.imwrite(str(path), np.full((*SHAPE, 3), k, np.uint8))
        pairs.append((path, random_ids(k)))
    assert export_coco(pairs, tmp_path / "annotations.json") == 3
    data = LabelledPictures(tmp_path)
    assert len(data) == 3
    for (picture, ids), (path, wanted) in zip(data, pairs, strict=False):
        np.testing.assert_array_equal(ids, wanted)
        np.testing.assert_array_equal(picture, cv2.imread(str(path)))


def test_an_export_holds_what_other_programs_read(tmp_path):
    ids = np.zeros(SHAPE, np.uint8)
    ids[3:7, 2:8] = 3
    export_coco([(tmp_path / "images/a.jpg", ids)], tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["images"] == [{"id": 1, "file_name": "images/a.jpg", "width": 16, "height": 12}]
    assert {entry["id"]: entry["name"] for entry in content["categories"]}[3] == "cube"
    (annotation,) = content["annotations"]
    assert annotation["category_id"] == 3
    assert annotation["bbox"] == [2, 3, 6, 4]
    assert annotation["area"] == 24
    assert annotation["segmentation"]["size"] == [12, 16]
    # Down the columns: 2 columns of 12 and 3 pixels outside, then 4 inside.
    assert annotation["segmentation"]["counts"][:4] == [27, 4, 8, 4]


def test_a_failing_export_leaves_no_file(tmp_path):
    def rows():
        yield tmp_path / "a.jpg", random_ids()
        raise UserError("broken")

    with pytest.raises(UserError):
        export_coco(rows(), tmp_path / "c.json")
    assert list(tmp_path.iterdir()) == []


def test_a_polygon_holds_the_pixels_whose_centres_it_holds():
    wanted = np.zeros(SHAPE, bool)
    wanted[3:7, 2:8] = True
    np.testing.assert_array_equal(rasterize([SQUARE], SHAPE, ""), wanted)
    triangle = rasterize([[0, 0, 100, 0, 0, 100]], (100, 100), "")
    rows, columns = np.mgrid[:100, :100] + 0.5
    unsure = np.abs(rows + columns - 100) < 0.5
    np.testing.assert_array_equal(triangle[~unsure], (rows + columns < 100)[~unsure])


def test_parts_of_one_annotation_are_joined():
    parts = [[0, 0, 2, 0, 2, 2, 0, 2], [5, 5, 7, 5, 7, 7, 5, 7]]
    assert rasterize(parts, SHAPE, "").sum() == 8


@pytest.mark.parametrize("seed", range(5))
def test_plain_and_text_run_lengths_are_the_mask(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 200, 2))
    mask = cv2.blur(rng.random(shape), (9, 9)) > 0.5
    plain = run_lengths(mask)
    np.testing.assert_array_equal(rasterize(plain, shape, ""), mask)
    text = {"size": list(shape), "counts": as_text(plain["counts"])}
    np.testing.assert_array_equal(rasterize(text, shape, ""), mask)


def test_a_smaller_outline_lies_on_top_whatever_the_order(tmp_path):
    table = {"category_id": 1, "segmentation": [[0, 0, 16, 0, 16, 12, 0, 12]]}
    cube = {"category_id": 2, "segmentation": [SQUARE]}
    wanted = np.full(SHAPE, 2)
    wanted[3:7, 2:8] = 3
    for order in ([table, cube], [cube, table]):
        np.testing.assert_array_equal(LabelledPictures(write_coco(tmp_path, order))[0][1], wanted)


def test_uncovered_pixels_are_unlabeled_or_what_the_class_map_says(tmp_path):
    write_coco(tmp_path, [{"segmentation": [SQUARE]}])
    assert LabelledPictures(tmp_path)[0][1][0, 0] == 0
    (tmp_path / "class_map.yaml").write_text(yaml.safe_dump({"uncovered": "background"}))
    ids = LabelledPictures(tmp_path)[0][1]
    assert ids[0, 0] == 1
    assert ids[4, 4] == 2


def test_categories_that_nothing_is_annotated_with_need_no_meaning(tmp_path):
    write_coco(tmp_path, [{"segmentation": [SQUARE]}], {0: "my-project", 1: "table"})
    assert LabelledPictures(tmp_path)[0][1][4, 4] == 2


def test_pictures_without_annotations_are_left_out(tmp_path):
    write_coco(tmp_path, [{"segmentation": [SQUARE]}], pictures=3)
    assert [path.name for path in LabelledPictures(tmp_path).images] == ["1.png"]


def test_a_coco_file_of_any_name_can_be_given_itself(tmp_path):
    write_coco(tmp_path, [{"segmentation": [SQUARE]}], name="mine.json")
    assert len(LabelledPictures(tmp_path / "mine.json")) == 1


@pytest.mark.parametrize(
    ("annotation", "categories", "message"),
    [
        ({"segmentation": [SQUARE]}, {1: "gripper"}, "unknown classes: 'gripper'"),
        ({"segmentation": [SQUARE]}, {2: "cube"}, "category 1, which has no name"),
        ({"bbox": [1, 2, 3, 4]}, None, "draw polygons, not boxes"),
        ({"segmentation": []}, None, "draw polygons, not boxes"),
        ({"segmentation": {"size": [12, 16], "counts": [3, 4]}}, None, "do not fill its 16x12"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, None, "do not fill its 16x12"),
    ],
)
def test_bad_annotations_are_told_in_one_line(tmp_path, annotation, categories, message):
    write_coco(tmp_path, [annotation], categories)
    with pytest.raises(UserError, match=message) as caught:
        LabelledPictures(tmp_path)[0]
    assert "\n" not in str(caught.value)


def test_bad_files_are_told_in_one_line(tmp_path):
    for text, message in [
        ("{", "cannot be read as JSON"),
        ("[]", "no COCO file"),
        ('{"images": []}', "no COCO file: entry 'annotations'"),
        ('{"images": [], "annotations": [], "categories": []}', "no annotated pictures"),
    ]:
        (tmp_path / "annotations.json").write_text(text)
        with pytest.raises(UserError, match=message):
            LabelledPictures(tmp_path)
    write_coco(tmp_path, [{"segmentation": [SQUARE]}])
    (tmp_path / "1.png").unlink()
    with pytest.raises(UserError, match=r"names picture '1\.png', which is not beside it"):
        LabelledPictures(tmp_path)
