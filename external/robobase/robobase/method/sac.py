"""SAC (Haarnoja et al., "Soft Actor-Critic Algorithms and Applications", 2018): policy and
temperature."""

import math
from typing import Any

import torch

from robobase.errors import UserError
from robobase.method.actor_critic import Actor, ActorCritic, Critic
from robobase.method.core import Batch, Metrics, ModelFactory
from robobase.method.utils import adamw, loss_weights
from robobase.method.vision import Features
from robobase.models.fully_connected import FullyConnectedModule
from robobase.utils import SquashedNormal


class GaussianActor(Actor):
    """tanh of a normal whose mean and standard deviation are both predicted.

    The model gives `(B, S, 2 A)`: means, then what `log_std_bounds` squash to log standard
    deviations, as in SAC-AE (Yarats et al., 2020) and DrQ.
    """

    def __init__(self, actor_model: FullyConnectedModule, log_std_bounds: tuple[float, float]):
        super().__init__(actor_model)
        self.log_std_bounds = log_std_bounds

    def forward(  # type: ignore[override]
        self, low_dim_obs: torch.Tensor | None, fused_view_feats: torch.Tensor | None
    ) -> SquashedNormal:
        """The distribution of actions `(B, S, A)`."""
        mean, log_std = self.output(low_dim_obs, fused_view_feats).chunk(2, dim=-1)
        low, high = self.log_std_bounds
        log_std = low + 0.5 * (high - low) * (torch.tanh(log_std) + 1)
        return SquashedNormal(mean, log_std.exp())


def sample_with_log_prob(policy: SquashedNormal) -> tuple[torch.Tensor, torch.Tensor]:
    """A differentiable action `(B, S, A)` and its log pi(a|s) `(B, 1)` (appendix C, equation 21).

    The distribution remembers the value before the tanh: nothing is lost where tanh saturates.
    """
    action = policy.rsample()
    return action, policy.log_prob(action).flatten(1).sum(1, keepdim=True)


class SAC(ActorCritic):
    """Maximum-entropy actor-critic: rewards, and alpha for every nat of the policy's entropy.

    Equations of the paper, with h = encoder(shift(x)), and where they are:

    * soft value    V(s) = E[min_k Q'_k(s, a) - alpha log pi(a|s)]               (3, `next_value`)
    * critic loss   J_Q = E[(Q_k(h, a) - (r + gamma V(s')))^2]                (5, `update_critic`)
    * actor loss    J_pi = E[alpha log pi(a|h) - min_k Q_k(h, a)]              (9, `update_actor`)
    * temperature   J(alpha) = E[-alpha (log pi(a|h) + target entropy)]  (18, `update_temperature`)
    * clipped double Q: the minimum over k (section 6); images are shifted at random: DrQ
      (Kostrikov et al., 2020)                                                          (`augment`)

    With n-step returns the entropy of the actions between is not counted, as is common.

    Args (those of `ActorCritic` come in addition):
        temperature_lr: of Adam on log alpha.
        init_temperature: alpha at the start.
        target_entropy: in nats; None takes -1 per action dimension (appendix D).
        log_std_bounds: of the normal before its tanh.
    """

    def __init__(
        self,
        temperature_lr: float,
        init_temperature: float,
        target_entropy: float | None,
        log_std_bounds: tuple[float, float],
        *args: Any,
        **kwargs: Any,
    ):
        low, high = log_std_bounds
        if not low < high:
            raise UserError(f"method.log_std_bounds={[low, high]}: give the lower bound first")
        if init_temperature <= 0:
            raise UserError(f"method.init_temperature={init_temperature}: give a number above 0")
        self.log_std_bounds = (float(low), float(high))
        super().__init__(*args, **kwargs)
        if target_entropy is None:
            target_entropy = -float(math.prod(self.action_space.shape))
        self.target_entropy = target_entropy
        log_alpha = torch.tensor(math.log(init_temperature), device=self.device)
        self.log_alpha = torch.nn.Parameter(log_alpha)
        self.temperature_opt = torch.optim.Adam([self.log_alpha], lr=temperature_lr)

    def build_actor(self, actor_model: ModelFactory) -> None:
        model = self.build_actor_model(actor_model, outputs_per_action=2)
        self.actor = GaussianActor(model, self.log_std_bounds).to(self.device)
        self.actor_opt = adamw(self.actor, self.actor_lr, self.weight_decay)

    def policy(self, features: Features, step: int) -> SquashedNormal:
        return self.actor(features.low_dim_obs, features.fused_view_feats)

    def next_value(self, next_features: Features, critic_target: Critic, step: int) -> torch.Tensor:
        """V(s') of equation 3; intrinsic critics leave the entropy to the others."""
        action, log_prob = sample_with_log_prob(self.policy(next_features, step))
        q = self._q_values(critic_target, next_features, action).min(1, keepdim=True).values
        return q - self.log_alpha.exp() * log_prob if critic_target is self.critic_target else q

    def update_actor(self, batch: Batch, features: Features, step: int) -> Metrics:
        """Step the actor along equation 9 (and `bc_lambda`), then the temperature."""
        features = features.detach()
        policy = self.policy(features, step)
        action, log_prob = sample_with_log_prob(policy)
        alpha = self.log_alpha.exp().detach()
        errors = alpha * log_prob - self.actor_objective(features, action)
        loss = (errors * loss_weights(batch, self.replay_beta).unsqueeze(-1)).mean()
        metrics: Metrics = {}
        if self.bc_lambda > 0 and "demo" in batch:
            bc_loss, metrics = self.get_bc_loss(policy.mean, batch)
            loss = loss + bc_loss
        self._step(loss, self.actor_grad_clip, self.actor_opt)
        self.update_temperature(log_prob.detach())
        if not self.logging:
            return {}
        return metrics | {
            "mean_act": action.mean().item(),
            "actor_loss": loss.item(),
            "actor_logprob": log_prob.mean().item(),
            "actor_ent": -log_prob.mean().item(),
            "temperature": alpha.item(),
        }

    def update_temperature(self, log_prob: torch.Tensor) -> None:
        """Step alpha along equation 18: up where log pi `(B, 1)` says the entropy is too low."""
        loss = -(self.log_alpha.exp() * (log_prob + self.target_entropy)).mean()
        self._step(loss, None, self.temperature_opt)
