"""Mistakes made on purpose: reproducible, of the kinds asked for, and as many as were measured."""

import json

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.perception.calibration import calibrate, measure
from so101_robobase.sim.corruption import CorruptionConfig, IdCorruption
from so101_robobase.vision.observation import ClassId

QUIET = {"boundary": 0.0, "blobs": 0.0, "missing": 0.0, "coarseness": 1.0}


@pytest.fixture
def ids():
    """(40, 84, 84): a table with a cube and two fingers at different places."""
    rng = np.random.default_rng(0)
    pictures = np.full((40, 84, 84), ClassId.TABLE, np.uint8)
    for picture in pictures:
        row, column = rng.integers(5, 50, 2)
        picture[row : row + 12, column : column + 12] = ClassId.CUBE
        picture[60:, 10:25] = ClassId.MOVING_FINGER
        picture[55:, 50:70] = ClassId.STATIC_FINGER
    return pictures


def corrupt(ids, step=0, **settings):
    keys, steps = np.arange(len(ids)), np.full(len(ids), step)
    return IdCorruption(CorruptionConfig(**(QUIET | settings)))(ids, keys, steps)


def test_nothing_happens_at_zero(ids):
    assert np.array_equal(corrupt(ids), ids)


def test_a_picture_depends_on_its_key_and_step_alone(ids):
    corruption = IdCorruption(CorruptionConfig(blobs=3.0))
    keys, steps = np.arange(40), np.arange(40) % 7
    together = corruption(ids, keys, steps)
    alone = np.concatenate([corruption(ids[i : i + 1], keys[i : i + 1], steps[i : i + 1])
                            for i in range(40)])  # fmt: skip
    assert np.array_equal(together, alone)
    assert not np.array_equal(together, corruption(ids, keys, steps + 1))
    assert not np.array_equal(together, corruption(ids, keys + 1, steps))


def test_the_pictures_given_are_left_alone(ids):
    before = ids.copy()
    corrupt(ids, boundary=1.0, blobs=3.0, missing=1.0, coarseness=2.0)
    assert np.array_equal(ids, before)


def test_wavering_edges_leave_the_inside_of_things_alone(ids):
    mistakes = measure(ids, corrupt(ids, boundary=1.0))
    assert mistakes.near_edges > 0.03
    assert mistakes.elsewhere.mean() < 1
    assert mistakes.missing == 0


def test_missing_objects_are_missing_in_some_frames_and_back_in_others(ids):
    def cubes(step):
        return (corrupt(ids, step, missing=1.0) == ClassId.CUBE).any(axis=(1, 2))

    seen = np.stack([cubes(step) for step in range(10)])
    assert 0.2 < 1 - seen.mean() < 0.7  # strengths are uniform: half on average, or confused back
    assert (seen.any(axis=0) & ~seen.all(axis=0)).mean() > 0.5


def test_blobs_take_the_classes_that_confusion_names(ids):
    confusion = np.zeros((6, 6))
    confusion[ClassId.TABLE, ClassId.BACKGROUND] = 1
    changed = corrupt(ids, blobs=20.0, confusion=tuple(map(tuple, confusion)))
    assert set(changed[changed != ids]) == {ClassId.BACKGROUND}
    assert (ids[changed != ids] == ClassId.TABLE).all()


def test_a_list_of_blobs_is_spread_over_episodes(ids):
    np.testing.assert_array_equal(corrupt(ids, blobs=2.0), corrupt(ids, blobs=(0.0, 2.0)))
    many = np.concatenate([ids] * 5)
    wrong = (corrupt(many, blobs=(0.0, 0.0, 0.0, 0.0, 8.0)) != many).any(axis=(1, 2)).mean()
    assert 0.12 < wrong < 0.3  # a quarter of the episodes have any


def test_coarse_ids_are_blocks(ids):
    strongest = np.argmax([np.random.default_rng([k]).uniform(size=4)[3] for k in range(40)])
    fine, coarse = ids[strongest], corrupt(ids, coarseness=4.0)[strongest]
    assert not np.array_equal(fine, coarse)
    changes = [(np.diff(p.astype(int), axis=0) != 0).any(axis=1).sum() for p in (fine, coarse)]
    assert changes[1] <= changes[0]


def test_calibration_makes_the_mistakes_that_were_measured(ids):
    many = np.concatenate([ids] * 5)
    few = (0.0, 0.0, 0.0, 0.0, 6.0)  # three episodes in four are all but free of blobs
    made = IdCorruption(CorruptionConfig(boundary=1.2, blobs=few, missing=0.1, coarseness=1.0))
    predicted = made(many, np.arange(len(many)) + 1000, np.zeros(len(many), int))
    measured = measure(many, predicted)
    figures = calibrate(many, measured)
    assert figures["boundary"] == pytest.approx(1.2, abs=0.25)
    assert figures["missing"] == pytest.approx(0.1, abs=0.06)
    blobs = figures["blobs"]
    assert blobs[len(blobs) // 2] < 0.1
    assert 1.5 < blobs[-1] < 8  # of the worst; blobs beside edges count as edges
    again = IdCorruption(CorruptionConfig(coarseness=1.0, **figures))
    repeated = measure(many, again(many, np.arange(len(many)) + 5000, np.ones(len(many), int)))
    assert repeated.near_edges == pytest.approx(measured.near_edges, rel=0.3)
    for quantile in (0.5, 0.9):
        wanted, got = (np.quantile(m.elsewhere, quantile) for m in (measured, repeated))
        assert 0.5 * wanted - 5 < got < 1.5 * wanted + 5


def test_a_report_replaces_the_figures(tmp_path, ids):
    figures = calibrate(ids, measure(ids, corrupt(ids, boundary=0.8)))
    (tmp_path / "parity.json").write_text(json.dumps({"corruption": figures}))
    read = CorruptionConfig(boundary=9.0, report=str(tmp_path / "parity.json")).measured()
    assert read.boundary == figures["boundary"]
    assert read.report is None
    IdCorruption(read)(ids[:2], np.arange(2), np.arange(2))


@pytest.mark.parametrize("content", ["", "{}", '{"corruption": 3}', '{"corruption": {"blobs": 1}}'])
def test_another_file_is_no_report(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(
        UserError, match=r"(is no such report|cannot be read as JSON).* perception parity"
    ):
        CorruptionConfig(report=str(path)).measured()


def test_a_missing_report_says_what_to_give(tmp_path):
    with pytest.raises(UserError, match=r"cannot be read.*or null"):
        CorruptionConfig(report=str(tmp_path / "none.json")).measured()


@pytest.mark.parametrize(
    "settings",
    [
        {"boundary": -1.0},
        {"missing": 1.5},
        {"blobs": -1.0},
        {"blobs": (2.0, 1.0)},
        {"blobs": (1.0,)},
        {"blobs": True},
        {"blobs": ()},
        {"blobs": "many"},
        {"blobs": (0.0, float("nan"))},
        {"coarseness": 0.5},
        {"blob_radius": (3.0, 1.0)},
        {"confusion": ((1.0, 0.0), (0.0, 1.0))},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UserError, match=f"corruption.{next(iter(settings))}"):
        CorruptionConfig(**settings)
