"""Behaviour cloning (Pomerleau, "Efficient Training of Artificial Neural Networks for Autonomous
Navigation", 1991): regress the actions of demonstrations from observations."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR

from robobase.errors import UserError
from robobase.method.core import (
    Batch,
    BatchedActionSequence,
    ImitationLearningMethod,
    Metrics,
    ModelFactory,
)
from robobase.method.utils import loss_weights
from robobase.method.vision import Features, VisionMethod

WARM_UP_STEPS = 100
"""Updates over which the adaptive learning rate rises to its full value."""


class Actor(nn.Module):
    """Predicts actions `(B, S, A)` from features `(B, Z)` or `(B, T, Z)`."""

    def __init__(self, action_space: spaces.Box, actor_model: Any):
        super().__init__()
        expected = action_space.shape
        if tuple(actor_model.output_shape) != expected:
            raise UserError(
                f"actor_model gives actions of shape {tuple(actor_model.output_shape)}, the "
                f"action space has {expected}; set output_sequence_length to {expected[0]}"
            )
        self.actor_model = actor_model

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.actor_model({"features": features})


class BC(VisionMethod, ImitationLearningMethod):
    """Supervised learning of a deterministic policy pi from demonstrations D.

    What it descends, and where it is done, with h = encoder(x) beside proprioception:

    * loss      L = E_(x, a)~D[|pi(h) - a|^2], the mean over S actions of A numbers       (`update`)
    * policy    pi(h) = actor(h): not squashed, clamped to the action bounds only to act (`act`)
    * rate      rises over 100 updates, then falls along a cosine     (`_warm_up_then_cosine`)

    Args (those of `Method` come in addition):
        lr: of Adam.
        adaptive_lr: raise the rate over 100 updates, then let it fall to 0 along a cosine.
        num_train_steps: updates in all; the cosine ends there.
        actor_grad_clip: largest gradient norm; None: no limit.
        actor_model, encoder_model, view_fusion_model: partial models.
    """

    def __init__(
        self,
        lr: float,
        adaptive_lr: bool,
        num_train_steps: int,
        actor_grad_clip: float | None = None,
        actor_model: ModelFactory | None = None,
        encoder_model: ModelFactory | None = None,
        view_fusion_model: ModelFactory | None = None,
        *args: Any,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.actor_grad_clip = actor_grad_clip
        self.build_encoder(encoder_model)
        self.build_view_fusion(view_fusion_model)
        self.build_actor(actor_model)
        self.opt = torch.optim.Adam(self.parameters(), lr=lr)
        self.lr_schedule: LambdaLR | None = None
        if adaptive_lr:
            if num_train_steps <= 0:
                raise UserError(
                    f"method.num_train_steps={num_train_steps} with adaptive_lr=true; set "
                    "num_pretrain_steps above 0, or method.adaptive_lr=false"
                )
            self.lr_schedule = LambdaLR(
                self.opt, lambda update: _warm_up_then_cosine(update, num_train_steps)
            )

    def build_actor(self, actor_model: ModelFactory | None) -> None:
        """Set `actor`, on proprioception and fused views side by side."""
        if actor_model is None:
            raise UserError("actor_model is null; configure one, see cfgs/method/bc.yaml")
        size = self.low_dim_size + self.rgb_latent_size
        lead = () if self.frame_stack_on_channel else (self.time_dim,)
        model = actor_model(
            input_shapes={"features": (*lead, size)},
            output_shape=self.action_space.shape[-1],
            num_envs=self.num_train_envs + 1,
        )
        self.actor = Actor(self.action_space, model).to(self.device)

    @torch.no_grad()
    def act(
        self, observations: Batch, step: int, eval_mode: bool
    ) -> BatchedActionSequence | tuple[BatchedActionSequence, dict[str, Any]]:
        """The predicted actions `(B, S, A)`, kept within the action bounds."""
        return self.predict(self.observe(observations)).clamp(-1, 1)

    def update(self, replay_iter: Iterator[Batch], step: int, replay_buffer: Any = None) -> Metrics:
        """One gradient step on one batch; see `Method.update`."""
        batch = {
            key: value.to(self.device, non_blocking=True)
            for key, value in next(replay_iter).items()
        }
        self.observe_statistics(batch)
        predicted = self.predict(self.observe(batch, to_learn=True))
        errors = F.mse_loss(predicted, batch["action"], reduction="none").flatten(1).mean(1)
        loss = (errors * loss_weights(batch, self.replay_beta)).mean()
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        if self.actor_grad_clip is not None:
            clip_grad_norm_(self.parameters(), self.actor_grad_clip)
        self.opt.step()
        if self.lr_schedule is not None:
            self.lr_schedule.step()
        if not self.logging:
            return {}
        return {"actor_loss": loss.item(), "lr": self.opt.param_groups[0]["lr"]}

    def predict(self, features: Features) -> torch.Tensor:
        """pi(h), `(B, S, A)`."""
        parts = [features.low_dim_obs, features.fused_view_feats]
        return self.actor(torch.cat([part for part in parts if part is not None], dim=-1))


def _warm_up_then_cosine(step: int, num_steps: int) -> float:
    """Factor on the learning rate after `step` of `num_steps` updates."""
    if step < WARM_UP_STEPS:
        return step / WARM_UP_STEPS
    progress = (step - WARM_UP_STEPS) / max(1, num_steps - WARM_UP_STEPS)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
