"""A Depth Anything of 50,000 random parameters, saved as the real one is."""

from pathlib import Path

import cv2
import numpy as np


def save_tiny_depth(folder: Path, seed: int = 0, **config) -> Path:
    """The folder, with what a download of the real model holds."""
    import torch
    import transformers

    torch.manual_seed(seed)
    backbone = transformers.Dinov2Config(
        image_size=518,
        patch_size=14,
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    options = {
        "initializer_range": 0.3,  # the usual 0.02 leaves nothing of so few channels
        "reassemble_hidden_size": 24,
        "neck_hidden_sizes": [8, 8, 16, 16],
        "fusion_hidden_size": 8,
        "head_hidden_size": 8,
    }
    model = transformers.DepthAnythingForDepthEstimation(
        transformers.DepthAnythingConfig(backbone_config=backbone, **(options | config))
    )
    model.save_pretrained(folder)
    transformers.DPTImageProcessor(
        size={"height": 126, "width": 126},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)
    return folder


def blotches(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8, smooth colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
