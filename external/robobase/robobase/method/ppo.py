"""PPO (Schulman et al., "Proximal Policy Optimization Algorithms", 2017), from state and images."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from robobase.errors import UserError
from robobase.method.actor_critic import Actor
from robobase.method.core import (
    Batch,
    BatchedActionSequence,
    Metrics,
    ModelFactory,
    OnPolicyMethod,
)
from robobase.method.vision import Features, VisionMethod
from robobase.models.fully_connected import FullyConnectedModule
from robobase.utils import SquashedNormal

ADAM_EPS = 1e-5
POLICY_OUTPUT_SCALE = 0.01
"""Both as in the authors' implementation: first actions do not depend on what is seen
(Andrychowicz et al., "What Matters In On-Policy Reinforcement Learning?", 2021, section 3.2)."""


class GaussianActor(Actor):
    """tanh of a normal: its mean is predicted, its standard deviation is learnt (section 6.1)."""

    def __init__(self, actor_model: FullyConnectedModule, init_std: float):
        super().__init__(actor_model)
        actor_model.initialize_output_layer(_scale_weight)  # type: ignore[operator]
        self.log_std = nn.Parameter(torch.full(actor_model.output_shape, math.log(init_std)))

    def forward(  # type: ignore[override]
        self, low_dim_obs: torch.Tensor | None, fused_view_feats: torch.Tensor | None
    ) -> SquashedNormal:
        """The distribution of actions `(B, S, A)`."""
        mean = self.output(low_dim_obs, fused_view_feats)
        return SquashedNormal(mean, self.log_std.exp().expand_as(mean))


def _scale_weight(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        module.weight.data.mul_(POLICY_OUTPUT_SCALE)


def log_prob(policy: SquashedNormal, action: torch.Tensor) -> torch.Tensor:
    """log pi(a|s) `(B,)` of actions `(B, S, A)`."""
    return policy.log_prob(action).flatten(1).sum(1)


def estimate_advantages(
    reward: torch.Tensor,
    value: torch.Tensor,
    next_value: torch.Tensor,
    ended: torch.Tensor,
    gamma: float,
    gae_lambda: float,
) -> torch.Tensor:
    """Generalised advantages `(L, N)` (equations 11 and 12), from steps `(L, N)` in order.

    delta_t = r_t + gamma V(s_{t+1}) - V(s_t), and A_t = delta_t + gamma lambda A_{t+1}.

    Args:
        next_value: V(s_{t+1}) of the same episode: of its final observation where it was
            truncated, 0 where it terminated.
        ended: episodes whose last step this is, either way: the sum does not cross it.
    """
    delta = reward + gamma * next_value - value
    decay = gamma * gae_lambda * (~ended).to(delta.dtype)
    advantage = torch.empty_like(delta)
    following = torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        following = delta[t] + decay[t] * following
        advantage[t] = following
    return advantage


def clipped_surrogate(
    ratio: torch.Tensor, advantage: torch.Tensor, clip_range: float
) -> torch.Tensor:
    """min(r A, clip(r, 1 - eps, 1 + eps) A) of each sample (equation 7), to be maximised."""
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return torch.minimum(ratio * advantage, clipped * advantage)


class PPO(VisionMethod, OnPolicyMethod):
    """Algorithm 1: collect a rollout of all environments, learn from it for some epochs, repeat.

    Equations of the paper, and where they are:

    * ratio         r(theta) = pi(a|s) / pi_old(a|s)                                  (section 3)
    * surrogate     L^CLIP = E[min(r A, clip(r, 1 - eps, 1 + eps) A)]    (7, `clipped_surrogate`)
    * objective     L = L^CLIP - c1 (V(s) - V_target)^2 + c2 S[pi](s)    (9, `update`)
    * advantages    A_t = sum_l (gamma lambda)^l delta_{t+l}   (11 and 12, `estimate_advantages`)

    V_target is A + V; advantages have mean 0 and deviation 1 over the rollout. The loss of both
    trains the encoder. Images are not shifted: the old policy's probabilities are those of the
    pictures it acted on. Weights do not change while a rollout is collected, so that `update`
    finds pi_old by asking itself.

    Args (those of `VisionMethod` and `OnPolicyMethod` come in addition):
        num_epochs: passes over a rollout.
        minibatch_size: steps of any environment and time in a gradient step.
        clip_range: eps.
        gamma, gae_lambda: of the advantages.
        value_coef, entropy_coef: c1 and c2.
        init_std: of the normal before its tanh.
        grad_clip: largest norm of all gradients; None: no limit.
        actor_lr, critic_lr, view_fusion_lr, encoder_lr, weight_decay: of AdamW.
        reward_scale: factor on rewards as the value function sees them.
        actor_model, critic_model, encoder_model, view_fusion_model: partial models.
    """

    def __init__(
        self,
        *args: Any,
        num_epochs: int,
        minibatch_size: int,
        clip_range: float,
        gamma: float,
        gae_lambda: float,
        value_coef: float,
        entropy_coef: float,
        init_std: float,
        grad_clip: float | None,
        actor_lr: float,
        critic_lr: float,
        view_fusion_lr: float,
        encoder_lr: float,
        weight_decay: float,
        reward_scale: float,
        actor_model: ModelFactory,
        critic_model: ModelFactory,
        encoder_model: ModelFactory | None,
        view_fusion_model: ModelFactory | None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        for name, count in (("num_epochs", num_epochs), ("minibatch_size", minibatch_size)):
            if count < 1:
                raise UserError(f"method.{name}={count}: give at least 1")
        if not self.frame_stack_on_channel:
            raise UserError("PPO reads stacked frames: set frame_stack_on_channel=true")
        if self.intrinsic_reward_module is not None:
            raise UserError("PPO learns from the task's reward alone: leave out intrinsic_reward")
        if self.aug is not None:
            raise UserError("PPO does not shift images: leave out method.use_augmentation")
        self.num_epochs, self.minibatch_size = num_epochs, minibatch_size
        self.clip_range, self.gamma, self.gae_lambda = clip_range, gamma, gae_lambda
        self.value_coef, self.entropy_coef = value_coef, entropy_coef
        self.grad_clip, self.reward_scale = grad_clip, reward_scale
        self.build_encoder(encoder_model)
        self.build_view_fusion(view_fusion_model)
        shapes = self.get_fully_connected_inputs()
        self.critic = critic_model(input_shapes=shapes, num_envs=1).to(self.device)
        shapes.pop("time_obs", None)  # a policy on the robot has no episode clock
        action_dim = self.action_space.shape[-1]
        actor = actor_model(input_shapes=shapes, output_shape=action_dim, num_envs=1)
        self.actor = GaussianActor(actor, init_std).to(self.device)
        learners = (
            (self.actor, actor_lr),
            (self.critic, critic_lr),
            (self.encoder, encoder_lr),
            (self.view_fusion, view_fusion_lr),
        )
        self.opt = torch.optim.AdamW(
            [{"params": list(m.parameters()), "lr": lr} for m, lr in learners if m is not None],
            eps=ADAM_EPS,
            weight_decay=weight_decay,
        )

    # --- acting ---------------------------------------------------------------------------------

    def policy(self, features: Features) -> SquashedNormal:
        """pi(.|s): the distribution of actions `(B, S, A)`."""
        return self.actor(features.low_dim_obs, features.fused_view_feats)

    def value(self, features: Features) -> torch.Tensor:
        """V(s), `(B,)`."""
        present = {k: v for k, v in features._asdict().items() if v is not None}
        return self.critic(present).squeeze(1)

    @torch.no_grad()
    def act(
        self, observations: Batch, step: int, eval_mode: bool
    ) -> BatchedActionSequence | tuple[BatchedActionSequence, dict[str, Any]]:
        """A sample of the policy, `(B, S, A)`; in evaluation the tanh of its normal's mean."""
        policy = self.policy(self.observe(observations))
        return policy.mean if eval_mode else policy.sample()

    def reset(self, step: int, agents_to_reset: list[int]) -> None:
        """The policy remembers nothing of an episode."""

    # --- learning -------------------------------------------------------------------------------

    def update(self, replay_iter: Iterator[Batch], step: int, replay_buffer: Any = None) -> Metrics:
        """Algorithm 1, lines 5 to 8, on the rollout that `replay_iter` gives."""
        rollout = {key: value.to(self.device) for key, value in next(replay_iter).items()}
        observations = {key: rollout[key].flatten(0, 1) for key in self.observation_space}
        actions = rollout["action"].flatten(0, 1)
        advantages, returns, old_log_prob = self._look_back(rollout, observations, actions)
        explained = 1 - (advantages.var() / returns.var().clamp(min=1e-8)).item()
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)

        sums = torch.zeros(5, device=self.device)
        gradient_steps = 0
        for _ in range(self.num_epochs):
            for rows in self._minibatches(len(actions)):
                sums += self._step(
                    {key: value[rows] for key, value in observations.items()},
                    actions[rows],
                    advantages[rows],
                    returns[rows],
                    old_log_prob[rows],
                )
                gradient_steps += 1
        # The policy that collects next must be the one that the next update asks for pi_old.
        self.observe_statistics(observations)
        names = ("actor_loss", "critic_loss", "actor_ent", "approx_kl", "clip_fraction")
        means = dict(zip(names, (sums / gradient_steps).tolist(), strict=True))
        self.last_metrics = means | {
            "explained_variance": explained,
            "batch_reward": rollout["reward"].mean().item(),
            "policy_std": self.actor.log_std.exp().mean().item(),
        }
        return self.last_metrics if self.logging else {}

    @torch.no_grad()
    def _look_back(
        self, rollout: Batch, observations: Batch, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Advantages, V_target and log pi_old of each step, `(L * N,)`."""
        values, log_probs = [], []
        for rows in torch.arange(len(actions), device=self.device).split(self.minibatch_size):
            features = self.observe({key: value[rows] for key, value in observations.items()})
            values.append(self.value(features))
            log_probs.append(log_prob(self.policy(features), actions[rows]))
        value = torch.cat(values)
        next_value = torch.cat([value[self.num_train_envs :], value[: self.num_train_envs]])
        if len(rollout["cuts"]):  # else the whole of the last step terminated
            cut = {key: rollout[f"{key}_tp1"] for key in observations}
            next_value[rollout["cuts"]] = self.value(self.observe(cut))
        next_value[rollout["terminal"].flatten()] = 0
        shape = rollout["reward"].shape
        advantages = estimate_advantages(
            self.reward_scale * rollout["reward"],
            value.view(shape),
            next_value.view(shape),
            rollout["terminal"] | rollout["truncated"],
            self.gamma,
            self.gae_lambda,
        ).flatten()
        return advantages, advantages + value, torch.cat(log_probs)

    def _minibatches(self, size: int) -> tuple[torch.Tensor, ...]:
        return torch.randperm(size, device=self.device).split(self.minibatch_size)

    def _step(
        self,
        observations: Batch,
        actions: torch.Tensor,
        advantages: torch.Tensor,
        returns: torch.Tensor,
        old_log_prob: torch.Tensor,
    ) -> torch.Tensor:
        """One gradient step along equation 9; gives what `update` averages."""
        features = self.observe(observations)
        policy = self.policy(features)
        log_ratio = log_prob(policy, actions) - old_log_prob
        ratio = log_ratio.exp()
        actor_loss = -clipped_surrogate(ratio, advantages, self.clip_range).mean()
        critic_loss = F.mse_loss(self.value(features), returns)
        # After the tanh there is no closed form: one new sample of each policy estimates it.
        entropy = -log_prob(policy, policy.rsample()).mean()
        loss = actor_loss + self.value_coef * critic_loss - self.entropy_coef * entropy
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        if self.grad_clip is not None:
            clip_grad_norm_(self.parameters(), self.grad_clip)
        self.opt.step()
        with torch.no_grad():
            approx_kl = (ratio - 1 - log_ratio).mean()  # Schulman's k3 estimate, never negative
            clip_fraction = ((ratio - 1).abs() > self.clip_range).float().mean()
            return torch.stack([actor_loss, critic_loss, entropy, approx_kl, clip_fraction])
