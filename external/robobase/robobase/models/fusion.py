"""View fusion: from one feature vector per camera to one for all of them."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from robobase.models.core import RoboBaseModule


class FusionModule(RoboBaseModule):
    """Fuses `(B, V, F)` features to one vector; `input_shape = (V, F)`."""

    def __init__(self, input_shape: tuple[int, int]):
        super().__init__()
        self.num_cameras, self.token_size = (int(n) for n in input_shape)


class FusionMultiCamFeature(FusionModule):
    """Flattens, averages or sums the views; has no parameters.

    `mode`: "flatten" gives `(B, V*F)`, "average" and "sum" give `(B, F)`; else ValueError.
    """

    def __init__(self, input_shape: tuple[int, int], mode: str = "flatten"):
        super().__init__(input_shape)
        if mode not in ("flatten", "average", "sum"):
            raise ValueError(f"mode={mode!r} is unknown; known: flatten, average, sum")
        self.mode = mode

    @property
    def output_shape(self) -> tuple[int, ...]:
        if self.mode == "flatten":
            return (self.num_cameras * self.token_size,)
        return (self.token_size,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(B, V, F)` to `(B, *output_shape)`."""
        if self.mode == "flatten":
            return x.flatten(1)
        return x.mean(1) if self.mode == "average" else x.sum(1)


class FusionMultiCamFeatureAttention(FusionModule):
    """A transformer over the views; returns the token of view 0, `(B, hidden_size)`.

    Views are embedded linearly and marked by a learned position; the blocks are pre-norm.
    """

    def __init__(
        self,
        input_shape: tuple[int, int],
        hidden_size: int = 128,
        depth: int = 2,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        norm_layer: Callable[[int], nn.Module] = nn.LayerNorm,
    ):
        super().__init__(input_shape)
        self.hidden_size = hidden_size

        def build_blocks() -> nn.Sequential:
            return nn.Sequential(
                *[_Block(hidden_size, num_heads, mlp_ratio, norm_layer) for _ in range(depth)]
            )

        self.embed = nn.Linear(self.token_size, hidden_size)
        self.position = nn.Parameter(torch.empty(1, self.num_cameras, hidden_size))
        self.blocks = build_blocks()
        self.norm = norm_layer(hidden_size)

        self.mask_token = nn.Parameter(torch.empty(1, 1, hidden_size))
        self.decoder_position = nn.Parameter(torch.empty(1, self.num_cameras, hidden_size))
        self.decoder_blocks = build_blocks()
        self.decoder_norm = norm_layer(hidden_size)
        self.decoder_head = nn.Linear(hidden_size, self.token_size)
        for parameter in (self.position, self.mask_token, self.decoder_position):
            nn.init.normal_(parameter, std=0.02)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.hidden_size,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(B, V, F)` to `(B, hidden_size)`."""
        return self.norm(self.blocks(self.embed(x) + self.position))[:, 0]

    def calculate_loss(self, feats: torch.Tensor) -> torch.Tensor:
        """Masked view modelling: keep one random view of `(B, V, F)`, reconstruct the others.

        The mean squared error is against detached features, over the masked views only.
        """
        batch, views = feats.shape[:2]
        kept = torch.randint(views, (batch,), device=feats.device)
        rows = torch.arange(batch, device=feats.device)
        token = (self.embed(feats) + self.position)[rows, kept].unsqueeze(1)
        token = self.norm(self.blocks(token)).squeeze(1)
        is_kept = F.one_hot(kept, views).bool().unsqueeze(-1)  # (B, V, 1)
        tokens = torch.where(is_kept, token.unsqueeze(1), self.mask_token) + self.decoder_position
        decoded = self.decoder_head(self.decoder_norm(self.decoder_blocks(tokens)))
        error = F.mse_loss(decoded, feats.detach(), reduction="none").mean(-1)  # (B, V)
        masked = (~is_kept.squeeze(-1)).to(error.dtype)
        return (error * masked).sum() / masked.sum().clamp(min=1)


class _Block(nn.Module):
    """One pre-norm transformer block over `(B, tokens, size)`."""

    def __init__(
        self,
        size: int,
        num_heads: int,
        mlp_ratio: float,
        norm_layer: Callable[[int], nn.Module],
    ):
        super().__init__()
        hidden = int(size * mlp_ratio)
        self.norm1 = norm_layer(size)
        self.attention = nn.MultiheadAttention(size, num_heads, batch_first=True)
        self.norm2 = norm_layer(size)
        self.mlp = nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))
