"""Labelled folders as the network takes them: resized once, split, shuffled by rule."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from robobase.errors import UserError
from so101_robobase.perception.folder import LabelledPictures
from so101_robobase.perception.segmentation.augmentation import AugmentationConfig, augment
from so101_robobase.perception.segmentation.preprocessing import resized
from so101_robobase.vision.observation import IMAGE_SIZE, center_crop, resize_nearest

Key = tuple[int, int]  # epoch, index of a picture


@dataclass(frozen=True)
class Sample:
    """A labelled picture in the network's size, and its labels in the policy's.

    Attributes:
        picture: (h, w, 3) uint8 BGR.
        ids: (h, w) uint8.
        policy_ids: (84, 84) uint8, made from the labels in the frame's own size.
        frame_size: (2,) int64 height and width of the frame.
    """

    picture: np.ndarray
    ids: np.ndarray
    policy_ids: np.ndarray
    frame_size: np.ndarray


class ResizedPictures(Dataset):
    """Pictures of several folders, one after the other, resized when they are read."""

    def __init__(self, folders: Sequence[LabelledPictures], size: Sequence[int]):
        self.size = tuple(size)
        self._folders = list(folders)
        self._ends = np.cumsum([len(folder) for folder in folders])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        which = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[which - 1]) if which else 0
        picture, ids = self._folders[which][index - first]
        return Sample(
            resized(picture, self.size),
            _resized_ids(ids, self.size),
            resize_nearest(center_crop(ids), IMAGE_SIZE).astype(np.uint8),
            np.array(ids.shape, np.int64),
        )


class CachedPictures(Dataset):
    """The same pictures from a folder that `write` made: no decoding, so epochs cost learning only.

    A home computer would spend a fifth of its time on decoding 640x480 JPEG and PNG files.
    """

    _FIELDS = ("picture", "ids", "policy_ids", "frame_size")

    def __init__(self, folder: Path):
        self._arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in self._FIELDS
        }

    def __len__(self) -> int:
        return len(self._arrays["ids"])

    def __getitem__(self, index: int) -> Sample:
        return Sample(**{name: np.asarray(array[index]) for name, array in self._arrays.items()})

    @classmethod
    def write(cls, folder: Path, pictures: ResizedPictures, num_workers: int) -> "CachedPictures":
        """Reads all `pictures` into `folder`, unless it is there already."""
        if folder.is_dir():
            return cls(folder)
        area = int(np.prod(pictures.size))
        needed = len(pictures) * (4 * area + IMAGE_SIZE**2)
        folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder.parent).free
        if needed > free:
            raise UserError(
                f"{folder} needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; make "
                "room, choose another --output, or give cache=false"
            )
        unfinished = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        loader = DataLoader(
            pictures, batch_size=None, num_workers=num_workers, collate_fn=_identity
        )
        files: dict = {}
        try:
            for sample in tqdm(loader, desc="reading pictures", unit="picture", leave=False):
                for name in cls._FIELDS:
                    array = getattr(sample, name)
                    if name not in files:
                        files[name] = open(unfinished / f"{name}.npy", "wb")  # noqa: SIM115
                        _write_header(files[name], array, len(pictures))
                    files[name].write(array.tobytes())
        finally:
            for file in files.values():
                file.close()
        unfinished.rename(folder)
        return cls(folder)


def split(
    lengths: Sequence[int], fraction: float, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each folder of that many pictures, which to train with and which to validate on.

    Each folder gives `fraction` of itself, at least one picture, to validation.
    """
    training, validation = [], []
    for k, length in enumerate(lengths):
        order = np.random.default_rng([seed, k]).permutation(length)
        held_out = max(1, round(fraction * length)) if fraction > 0 else 0
        if held_out >= length:
            raise UserError(
                f"{length} labelled pictures are too few to hold {held_out} out for validation; "
                "give more, or --validation a folder of its own"
            )
        validation.append(np.sort(order[:held_out]))
        training.append(np.sort(order[held_out:]))
    return training, validation


class Batches(Sampler[list[Key]]):
    """The pictures of every step from `first` to `last`, by seed, epoch and step alone.

    A run that was interrupted at a step goes on with the very pictures it would have seen.
    """

    def __init__(self, indices: np.ndarray, batch_size: int, seed: int, first: int, last: int):
        self._indices = indices
        self._batch_size = min(batch_size, len(indices))
        self._seed = seed
        self._range = range(first, last)

    @property
    def per_epoch(self) -> int:
        return len(self._indices) // self._batch_size

    def __len__(self) -> int:
        return len(self._range)

    def __iter__(self) -> Iterator[list[Key]]:
        order, ordered_epoch = self._indices, -1
        for step in self._range:
            epoch, k = divmod(step, self.per_epoch)
            if epoch != ordered_epoch:
                order = np.random.default_rng([self._seed, epoch]).permutation(self._indices)
                ordered_epoch = epoch
            batch = order[k * self._batch_size : (k + 1) * self._batch_size]
            yield [(epoch, int(index)) for index in batch]


class TrainingPictures(Dataset):
    """Augmented pictures; which variation depends on seed, epoch and picture alone."""

    def __init__(self, pictures: Dataset, config: AugmentationConfig, seed: int):
        self._pictures = pictures
        self._config = config
        self._seed = seed

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        """(3, h, w) uint8 BGR and (h, w) uint8 ids."""
        epoch, index = key
        sample = self._pictures[index]
        rng = np.random.default_rng([self._seed, epoch, index])
        picture, ids = augment(sample.picture, sample.ids, self._config, rng)
        return torch.from_numpy(picture).permute(2, 0, 1), torch.from_numpy(ids)


def _resized_ids(ids: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """As `observation.resize_nearest`, to a size that is no square."""
    rows, columns = (
        ((2 * np.arange(new) + 1) * old) // (2 * new)
        for new, old in zip(size, ids.shape, strict=True)
    )
    return ids[rows[:, None], columns].astype(np.uint8)


def _write_header(file, array: np.ndarray, count: int) -> None:
    header = np.lib.format.header_data_from_array_1_0(array)
    header |= {"shape": (count, *array.shape), "fortran_order": False}
    np.lib.format.write_array_header_2_0(file, header)


def _identity(sample: Any) -> Any:
    return sample
