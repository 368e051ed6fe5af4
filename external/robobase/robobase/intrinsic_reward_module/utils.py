"""The small encoders that intrinsic rewards share."""

import torch
from torch import nn

HIDDEN = 256
"""Width of every hidden layer."""


def build_encoder(observation_shape: tuple[int, ...], latent_dim: int) -> nn.Module:
    """Images `(C, H, W)` through four stride-2 convolutions, vectors through one hidden layer."""
    if len(observation_shape) == 1:
        return build_mlp(observation_shape[0], latent_dim)
    layers: list[nn.Module] = []
    channels = observation_shape[0]
    for _ in range(4):
        layers += [nn.Conv2d(channels, 32, 3, stride=2, padding=1), nn.ELU()]
        channels = 32
    convs = nn.Sequential(*layers, nn.Flatten())
    with torch.no_grad():
        size = convs(torch.zeros(1, *observation_shape)).shape[1]
    return nn.Sequential(convs, nn.Linear(size, latent_dim))


def build_mlp(n_in: int, n_out: int) -> nn.Module:
    """One hidden layer with ReLU."""
    return nn.Sequential(nn.Linear(n_in, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, n_out))
