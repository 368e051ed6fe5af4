"""What every network has in common: a known output shape, and names for activations and norms."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from robobase.models.utils import ImgChLayerNorm, identity_cls, layernorm_for_cnn


class RoboBaseModule(nn.Module, ABC):
    """A network that knows the shape of what it returns, without the batch axis."""

    @property
    @abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output, without the batch axis."""

    def calculate_loss(self, *args: Any, **kwargs: Any) -> torch.Tensor | None:
        """An auxiliary loss that trains this network beside its user's; None where it has none."""
        return None


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "lrelu": nn.LeakyReLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "prelu": nn.PReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "glu": nn.GLU,
}


def _group_norm(channels: int) -> nn.Module:
    """Groups of 16 channels (Wu and He, 2018, table 3), or the nearest count that divides."""
    return nn.GroupNorm(math.gcd(channels, max(1, channels // 16)), channels)


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": nn.LayerNorm,
    "layer_for_cnn": layernorm_for_cnn,
    "img_ch_layer": ImgChLayerNorm,
    "group": _group_norm,
    "batch1d": nn.BatchNorm1d,
    "batch2d": nn.BatchNorm2d,
    "identity": identity_cls,
}


def get_activation_fn_from_str(act: str) -> type[nn.Module]:
    """The activation class called `act`; ValueError for an unknown name."""
    if act not in _ACTIVATIONS:
        raise ValueError(f"activation={act!r} is unknown; known: {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[act]


def get_normalization_fn_from_str(norm: str) -> Callable[[int], nn.Module]:
    """A function from a channel count to the norm called `norm`; ValueError if unknown."""
    if norm not in _NORMS:
        raise ValueError(f"norm={norm!r} is unknown; known: {', '.join(_NORMS)}")
    return _NORMS[norm]
