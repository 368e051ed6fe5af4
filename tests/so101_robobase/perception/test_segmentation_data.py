import numpy as np
import pytest
from segmentation_examples import small_config, write_pictures

from robobase.errors import UserError
from so101_robobase.perception.folder import LabelledPictures
from so101_robobase.perception.segmentation.data import (
    Batches,
    CachedPictures,
    ResizedPictures,
    split,
)
from so101_robobase.perception.segmentation.training import TrainingData
from so101_robobase.vision import observation


def test_split_parts_are_disjoint_whole_and_repeatable():
    training, validation = split([40, 5], 0.1, seed=3)
    for length, train, held_out in zip((40, 5), training, validation, strict=True):
        assert sorted([*train, *held_out]) == list(range(length))
    assert [len(part) for part in validation] == [4, 1]
    again = split([40, 5], 0.1, seed=3)[1]
    np.testing.assert_array_equal(again[0], validation[0])
    assert (split([40, 5], 0.1, seed=4)[1][0] != validation[0]).any()


def test_one_picture_is_too_few_to_split():
    with pytest.raises(UserError, match="too few"):
        split([1], 0.1, seed=0)


def test_an_epoch_shows_every_picture_once_and_epochs_differ():
    batches = Batches(np.arange(10, 22), batch_size=4, seed=1, first=0, last=6)
    keys = [key for batch in batches for key in batch]
    first, second = ([index for epoch, index in keys if epoch == wanted] for wanted in (0, 1))
    assert sorted(first) == sorted(second) == list(range(10, 22))
    assert first != second


def test_batches_from_the_middle_are_those_of_the_whole_run():
    whole = list(Batches(np.arange(10), 3, seed=1, first=0, last=9))
    assert list(Batches(np.arange(10), 3, seed=1, first=4, last=9)) == whole[4:]


def test_cached_pictures_are_the_pictures_and_policy_labels_those_of_the_policy(tmp_path):
    folder = LabelledPictures(write_pictures(tmp_path / "data", 3))
    direct = ResizedPictures([folder, folder], (64, 96))
    cached = CachedPictures.write(tmp_path / "cache", direct, num_workers=0)
    assert len(cached) == len(direct) == 6
    for k in range(6):
        for name in ("picture", "ids", "policy_ids", "frame_size"):
            np.testing.assert_array_equal(getattr(cached[k], name), getattr(direct[k], name))
        np.testing.assert_array_equal(direct[k].policy_ids, observation.seg(folder[k % 3][1])[0])


def test_extra_pictures_are_repeated_and_a_validation_folder_never_trains(tmp_path):
    main, extra, held_out = (
        write_pictures(tmp_path / name, count)
        for name, count in (("main", 6), ("extra", 3), ("held_out", 2))
    )
    config = small_config(main, "data.extra_repeat=4")
    config.data.extra, config.data.validation = [str(extra)], [str(held_out)]
    data = TrainingData.of(config)
    assert np.bincount(data.training).tolist() == [1] * 6 + [4] * 3
    assert data.validation.tolist() == [9, 10]


def test_without_a_validation_folder_every_folder_gives_some(tmp_path):
    config = small_config(write_pictures(tmp_path / "main", 10))
    config.data.extra = [str(write_pictures(tmp_path / "extra", 5))]
    data = TrainingData.of(config)
    assert sorted([*data.training, *data.validation]) == list(range(15))
    assert (data.validation >= 10).sum() == 1
    assert (data.validation < 10).sum() == 2
