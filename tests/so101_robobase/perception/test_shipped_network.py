"""The segmentation network in `policies/` still loads and still finds the cube."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("segmentation_models_pytorch")

from so101_robobase.perception.dataset import DatasetSettings
from so101_robobase.perception.eyes import Eyes
from so101_robobase.perception.parity import compare
from so101_robobase.perception.scenes import simulate_pool
from so101_robobase.vision.observation import ClassId

NETWORK = Path(__file__).parents[3] / "policies" / "segmentation.pt"


def test_the_shipped_network_finds_the_classes_of_pictures_it_has_not_seen():
    """Of four seeds: among 40 pictures of one, a single box in the cube's colours costs much."""
    eyes = Eyes(str(NETWORK))
    mean, cube = [], []
    for seed in range(4_000_000, 4_000_004):
        settings = DatasetSettings.randomized(width=320, height=240, seed=seed)
        pool = simulate_pool(settings.seed, settings.physical, size=64, num_threads=1)
        seen = compare(settings, pool, eyes, num_images=40).confusion
        mean.append(seen.mean_iou)
        cube.append(seen.iou[ClassId.CUBE])
    assert np.mean(mean) >= 0.8  # 90.6 % on 1,000 pictures of these ranges: devlog 011
    assert np.mean(cube) >= 0.8
