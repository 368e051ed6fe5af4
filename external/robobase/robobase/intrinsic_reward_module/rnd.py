"""Random network distillation (Burda et al., 2019)."""

from typing import Any

import torch
from torch.nn import functional as F

from robobase.intrinsic_reward_module.core import Batch, IntrinsicRewardModule
from robobase.intrinsic_reward_module.utils import build_encoder


class RND(IntrinsicRewardModule):
    """The error of predicting a frozen random network's view of the next observation."""

    def __init__(self, *args: Any, latent_dim: int = 128, lr: float = 1e-3, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.predictor = build_encoder(self.observation_shape, latent_dim).to(self.device)
        self.target = build_encoder(self.observation_shape, latent_dim).to(self.device)
        self.target.requires_grad_(False)
        self.opt = torch.optim.Adam(self.predictor.parameters(), lr=lr)

    @torch.no_grad()
    def compute_irs(self, batch: Batch, step: int = 0) -> torch.Tensor:
        """Prediction errors `(B, 1)`, scaled to 0..1 within the batch, times the weight."""
        obs = self.extract(batch, is_next=True)
        error = F.mse_loss(self.predictor(obs), self.target(obs), reduction="none").mean(1)
        low, high = error.min(), error.max()
        return (self.weight(step) * (error - low) / (high - low + 1e-11)).unsqueeze(1)

    def update(self, batch: Batch) -> None:
        """Learn to predict the current observations."""
        obs = self.extract(batch, is_next=False)
        loss = F.mse_loss(self.predictor(obs), self.target(obs))
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        self.opt.step()
