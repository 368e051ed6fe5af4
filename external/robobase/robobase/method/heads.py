"""Actor and critics: what they predict, on top of any fully connected model."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from robobase.models.fully_connected import FullyConnectedModule
from robobase.models.utils import from_categorical, to_categorical
from robobase.utils import TruncatedNormal, weight_init


class Actor(nn.Module):
    """A deterministic policy pi(s) in [-1, 1], as a distribution."""

    def __init__(self, actor_model: FullyConnectedModule):
        super().__init__()
        self.actor_model = actor_model

    def mean_action(
        self, low_dim_obs: torch.Tensor | None, fused_view_feats: torch.Tensor | None
    ) -> torch.Tensor:
        """tanh of the model's output, `(B, S, A)`; None stands for an observation there is not."""
        inputs = {"low_dim_obs": low_dim_obs, "fused_view_feats": fused_view_feats}
        return torch.tanh(self.actor_model({k: v for k, v in inputs.items() if v is not None}))

    def forward(
        self, low_dim_obs: torch.Tensor | None, fused_view_feats: torch.Tensor | None
    ) -> TruncatedNormal:
        mu = self.mean_action(low_dim_obs, fused_view_feats)
        return TruncatedNormal(mu, torch.zeros_like(mu))

    def reset(self, env_index: int) -> None:
        """Forget the episode of one environment."""
        self.actor_model.reset(env_index)

    def set_eval_env_running(self, value: bool) -> None:
        """Tell the model which environments it acts for."""
        self.actor_model.eval_env_running = value


class Critic(nn.Module):
    """`num_critics` independent Q-functions of one shape; `critic_model` is the pattern."""

    def __init__(self, critic_model: FullyConnectedModule, num_critics: int):
        super().__init__()
        self.qs = nn.ModuleList(copy.deepcopy(critic_model) for _ in range(num_critics))
        self.qs.apply(weight_init)

    def forward(
        self,
        low_dim_obs: torch.Tensor | None,
        fused_view_feats: torch.Tensor | None,
        action: torch.Tensor,
        time_obs: torch.Tensor | None,
    ) -> torch.Tensor:
        """Q-values `(B, num_critics)` of actions `(B, S, A)`."""
        inputs = {
            "low_dim_obs": low_dim_obs,
            "fused_view_feats": fused_view_feats,
            "time_obs": time_obs,
            "action": action.flatten(1),
        }
        present = {key: value for key, value in inputs.items() if value is not None}
        return torch.cat([q(present) for q in self.qs], dim=-1)

    def reset(self, env_index: int) -> None:
        """Forget the episode of one environment."""
        for q in self._models():
            q.reset(env_index)

    def set_eval_env_running(self, value: bool) -> None:
        """Tell the models which environments they judge."""
        for q in self._models():
            q.eval_env_running = value

    def _models(self) -> list[FullyConnectedModule]:
        return [q for q in self.qs if isinstance(q, FullyConnectedModule)]


class DistributionalCritic(Critic):
    """Q-functions that predict a distribution over `atoms` values (Bellemare et al., 2017).

    The atoms lie on [-limit, limit], on the scale of `signed_hyperbolic` if `transform`. The
    critic model's output shape must be `(atoms, 1)`.
    """

    def __init__(
        self,
        limit: float,
        atoms: int,
        transform: bool,
        critic_model: FullyConnectedModule,
        num_critics: int,
    ):
        super().__init__(critic_model, num_critics)
        if tuple(critic_model.output_shape) != (atoms, 1):
            raise ValueError(
                f"critic_model.output_shape={tuple(critic_model.output_shape)} does not fit "
                f"distributional_critic_atoms={atoms}; set it to [{atoms}, 1]"
            )
        self.limit, self.atoms, self.transform = limit, atoms, transform

    def to_dist(self, value: torch.Tensor) -> torch.Tensor:
        """Values `(B, k)` to distributions `(B, atoms, k)`."""
        return to_categorical(
            value, limit=self.limit, num_atoms=self.atoms, transformation=self.transform
        )

    def from_dist(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits `(B, atoms, k)` to values `(B, k)`."""
        return from_categorical(logits, limit=self.limit, transformation=self.transform)

    def compute_distributional_critic_loss(
        self, q: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Cross-entropy of logits `(B, atoms, num_critics)`, summed over critics: `(B, 1)`.

        `target` is a distribution `(B, atoms, 1)`.
        """
        log_probabilities = F.log_softmax(q, dim=1)
        return -(target * log_probabilities).sum(dim=1).sum(dim=-1, keepdim=True)
