"""The segmentation network in `policies/` still loads and still finds the cube."""

from pathlib import Path

import pytest

pytest.importorskip("segmentation_models_pytorch")

from so101_robobase.observation import ClassId
from so101_robobase.perception.dataset import DatasetSettings
from so101_robobase.perception.eyes import Eyes
from so101_robobase.perception.parity import compare
from so101_robobase.perception.scenes import simulate_pool

NETWORK = Path(__file__).parents[3] / "policies" / "segmentation.pt"


def test_the_shipped_network_finds_the_classes_of_pictures_it_has_not_seen():
    settings = DatasetSettings.randomized(width=320, height=240, seed=4_000_000)
    pool = simulate_pool(settings.seed, settings.physical, size=64, num_threads=1)
    seen = compare(settings, pool, Eyes(str(NETWORK)), num_images=40).confusion
    assert seen.mean_iou >= 0.8  # 90.6 % on 1,000 pictures of these ranges: devlog 011
    assert seen.iou[ClassId.CUBE] >= 0.8
