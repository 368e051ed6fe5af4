"""Small pieces of networks: norms for images, and the categorical code of a scalar value."""

import torch
from torch import nn
from torch.nn import functional as F


class ImgChLayerNorm(nn.Module):
    """Layer norm over the channels of each pixel: `(B, C, H, W)` to the same shape."""

    def __init__(self, num_channels: int, eps: float = 1e-5):
        super().__init__()
        self.norm = nn.LayerNorm(num_channels, eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def layernorm_for_cnn(num_channels: int) -> nn.Module:
    """Layer norm over all of `(C, H, W)`, with one weight per channel."""
    return nn.GroupNorm(1, num_channels)


def identity_cls(num_channels: int) -> nn.Module:
    """No normalisation; takes the channel count like the other norms do."""
    return nn.Identity()


def signed_hyperbolic(x: torch.Tensor, eps: float = 1e-3) -> torch.Tensor:
    """h(x) = sign(x)(sqrt(|x| + 1) - 1) + eps x (Pohlen et al., 2018): shrinks large returns."""
    return torch.sign(x) * (torch.sqrt(torch.abs(x) + 1) - 1) + eps * x


def signed_parabolic(x: torch.Tensor, eps: float = 1e-3) -> torch.Tensor:
    """The inverse of `signed_hyperbolic`."""
    root = torch.sqrt(1 + 4 * eps * (eps + 1 + torch.abs(x)))
    return torch.sign(x) * (torch.square((root - 1) / (2 * eps)) - 1)


def to_categorical(
    value: torch.Tensor,
    limit: float = 20,
    offset: float = 0.0,
    num_atoms: int = 251,
    transformation: bool = True,
) -> torch.Tensor:
    """Spread each value over the two atoms beside it: `(B, k)` to `(B, num_atoms, k)`.

    The atoms lie evenly on [-limit, limit]; `offset` is subtracted first, then the value goes
    through `signed_hyperbolic` if `transformation`. Values beyond the grid go to its ends.
    """
    value = value - offset
    if transformation:
        value = signed_hyperbolic(value)
    position = (value.clamp(-limit, limit) + limit) * ((num_atoms - 1) / (2 * limit))
    low = position.floor().clamp(0, num_atoms - 1)
    weight_high = position - low
    low_index = low.long().unsqueeze(-2)  # (B, 1, k)
    high_index = (low_index + 1).clamp(max=num_atoms - 1)
    batch, k = value.shape
    dist = value.new_zeros(batch, num_atoms, k)
    dist.scatter_add_(-2, low_index, (1 - weight_high).unsqueeze(-2))
    return dist.scatter_add_(-2, high_index, weight_high.unsqueeze(-2))


def from_categorical(
    dist: torch.Tensor,
    limit: float = 20,
    offset: float = 0.0,
    logits: bool = True,
    transformation: bool = True,
) -> torch.Tensor:
    """The value that a distribution over atoms stands for; the inverse of `to_categorical`.

    `(B, num_atoms)` or `(B, num_atoms, k)` to `(B, 1)` or `(B, k)`.
    """
    if dist.ndim == 2:
        dist = dist.unsqueeze(-1)
    probabilities = F.softmax(dist, dim=-2) if logits else dist
    atoms = torch.linspace(-limit, limit, dist.shape[-2], device=dist.device, dtype=dist.dtype)
    value = torch.einsum("bak,a->bk", probabilities, atoms)
    if transformation:
        value = signed_parabolic(value)
    return value + offset
