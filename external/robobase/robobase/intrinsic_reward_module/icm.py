"""The intrinsic curiosity module (Pathak et al., 2017)."""

import math
from typing import Any

import torch
from torch.nn import functional as F

from robobase.intrinsic_reward_module.core import Batch, IntrinsicRewardModule
from robobase.intrinsic_reward_module.utils import build_encoder, build_mlp


class ICM(IntrinsicRewardModule):
    """The error of predicting the next observation's code from the current one and the action.

    The inverse model, which predicts the action between two codes, keeps in the code only what
    actions can change.
    """

    def __init__(self, *args: Any, latent_dim: int = 128, lr: float = 1e-3, **kwargs: Any):
        super().__init__(*args, **kwargs)
        action_size = math.prod(self.action_space.shape)
        self.encoder = build_encoder(self.observation_shape, latent_dim).to(self.device)
        self.forward_model = build_mlp(latent_dim + action_size, latent_dim).to(self.device)
        self.inverse_model = build_mlp(2 * latent_dim, action_size).to(self.device)
        self.opt = torch.optim.Adam(self.parameters(), lr=lr)

    @torch.no_grad()
    def compute_irs(self, batch: Batch, step: int = 0) -> torch.Tensor:
        """Euclidean norms of the forward model's errors `(B, 1)`, times the weight."""
        _, predicted, code_tp1 = self._predict(batch)
        return self.weight(step) * torch.linalg.vector_norm(predicted - code_tp1, dim=1)[:, None]

    def update(self, batch: Batch) -> None:
        """Learn all three models."""
        code, predicted, code_tp1 = self._predict(batch)
        action = batch["action"].to(self.device).flatten(1)
        predicted_action = torch.tanh(self.inverse_model(torch.cat([code, code_tp1], 1)))
        loss = F.mse_loss(predicted, code_tp1) + F.mse_loss(predicted_action, action)
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        self.opt.step()

    def _predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        code = self.encoder(self.extract(batch, is_next=False))
        code_tp1 = self.encoder(self.extract(batch, is_next=True))
        action = batch["action"].to(self.device).flatten(1)
        return code, self.forward_model(torch.cat([code, action], 1)), code_tp1
