"""Tiny labelled pictures, tiny networks and settings for the tests of segmentation."""

from pathlib import Path

import cv2
import numpy as np

from so101_robobase.perception.segmentation import config as configuration
from so101_robobase.vision.observation import PALETTE

SMALL = [
    "model.size=[64,96]", "augmentation.crop=[64,64]", "model.encoder_weights=none",
    "optimisation.batch_size=4", "num_workers=0", "num_threads=1", "device=cpu",
    "data.validation_fraction=0.2",
]  # fmt: skip


def write_pictures(folder: Path, count: int, height: int = 96, width: int = 128) -> Path:
    """Coloured squares of every class on a table; each class has its colour of `PALETTE`."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for k in range(count):
        rng = np.random.default_rng(k)
        ids = np.full((height, width), 1, np.uint8)
        ids[rng.integers(10, height // 2) :] = 2
        for class_id in (0, 3, 4, 5):
            y, x = rng.integers(0, (height - 24, width - 24))
            ids[y : y + 24, x : x + 24] = class_id
        picture = PALETTE[ids][..., ::-1] + rng.normal(0, 4, (height, width, 3))
        picture = np.clip(picture, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"images/{k:03d}.png"), picture)
        cv2.imwrite(str(folder / f"masks/{k:03d}.png"), ids)
    return folder


def small_config(folder: Path, *overrides: str) -> configuration.TrainingConfig:
    """Settings of a training of seconds on the pictures of `folder`."""
    cfg = configuration.settings("home", [*SMALL, *overrides])
    cfg.data.folders = [str(folder)]
    return configuration.checked(cfg)
