"""DrQ-v2 (Yarats et al., "Mastering Visual Continuous Control", 2021): the policy and its noise."""

from typing import Any

import torch

from robobase.method.actor_critic import Actor as DeterministicActor
from robobase.method.actor_critic import ActorCritic, Policy
from robobase.method.core import ModelFactory
from robobase.method.utils import adamw
from robobase.method.vision import Features
from robobase.utils import TruncatedNormal, schedule


class Actor(DeterministicActor):
    """pi(s) plus Gaussian noise, kept within the action bounds."""

    def forward(  # type: ignore[override]
        self,
        low_dim_obs: torch.Tensor | None,
        fused_view_feats: torch.Tensor | None,
        std: float,
    ) -> TruncatedNormal:
        """The distribution of actions `(B, S, A)` with standard deviation `std`."""
        mu = torch.tanh(self.output(low_dim_obs, fused_view_feats))
        return TruncatedNormal(mu, torch.full_like(mu, std))


class DrQV2(ActorCritic):
    """Clipped double Q-learning with DDPG's actor, on randomly shifted images.

    Section 3.1 of the paper, with h = encoder(shift(x)), and where it is done; one gradient step
    on each loss, top to bottom, is `ActorCritic.update`:

    * critic loss   L(theta_k, xi) = E[(Q_k(h, a) - y)^2], averaged over k   (`Critic.errors`)
    * shift         of up to 4 pixels per axis                                      (`augment`)
    * target        y = sum_{i<n} gamma^i r_{t+i} + gamma^n min_k Q'_k(h_{t+n}, a_{t+n}); the
      buffer gives the sum and gamma^n                                    (`calculate_target_q`)
    * noise         a = pi(h) + eps, eps ~ clip(N(0, sigma^2), -c, c)      (`sample_for_update`)
    * actor loss    L(phi) = -E[min_k Q_k(h, a)]                                (`update_actor`)
    * schedule      sigma falls linearly over training                               (`get_std`)

    Args (those of `ActorCritic` come in addition):
        stddev_schedule: sigma over environment steps, see `robobase.utils.schedule`.
        stddev_clip: c. Actions in the environment are not clipped.
    """

    def __init__(
        self,
        stddev_schedule: str | float,
        stddev_clip: float,
        *args: Any,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.stddev_schedule = stddev_schedule
        self.stddev_clip = stddev_clip

    def build_actor(self, actor_model: ModelFactory) -> None:
        self.actor = Actor(self.build_actor_model(actor_model)).to(self.device)
        self.actor_opt = adamw(self.actor, self.actor_lr, self.weight_decay)

    def get_std(self, step: int) -> float:
        """sigma after `step` environment steps."""
        return schedule(self.stddev_schedule, step)

    def policy(self, features: Features, step: int) -> TruncatedNormal:
        std = self.get_std(step)
        return self.actor(features.low_dim_obs, features.fused_view_feats, std)

    def sample_for_update(self, policy: Policy) -> torch.Tensor:
        return policy.sample(clip=self.stddev_clip)
