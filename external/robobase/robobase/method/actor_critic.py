"""Off-policy actor-critic learning from images and proprioception: all but the policy's noise."""

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from robobase.method.core import (
    Batch,
    BatchedActionSequence,
    Metrics,
    ModelFactory,
    OffPolicyMethod,
)
from robobase.method.utils import (
    CURRENT_IMAGES,
    NEXT_IMAGES,
    adamw,
    frozen,
    loss_weights,
)
from robobase.method.vision import Features, VisionMethod
from robobase.models.fully_connected import FullyConnectedModule
from robobase.models.utils import from_categorical, to_categorical
from robobase.utils import SquashedNormal, TruncatedNormal, soft_update_params, weight_init

Policy = TruncatedNormal | SquashedNormal


class Actor(nn.Module):
    """A deterministic policy pi(s) in [-1, 1], as a distribution."""

    def __init__(self, actor_model: FullyConnectedModule):
        super().__init__()
        self.actor_model = actor_model

    def output(
        self, low_dim_obs: torch.Tensor | None, fused_view_feats: torch.Tensor | None
    ) -> torch.Tensor:
        """The model's, `(B, S, ...)`; None stands for an observation there is not."""
        inputs = {"low_dim_obs": low_dim_obs, "fused_view_feats": fused_view_feats}
        return self.actor_model({k: v for k, v in inputs.items() if v is not None})

    def forward(
        self, low_dim_obs: torch.Tensor | None, fused_view_feats: torch.Tensor | None
    ) -> TruncatedNormal:
        mu = torch.tanh(self.output(low_dim_obs, fused_view_feats))
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
        self.qs: Any = nn.ModuleList(copy.deepcopy(critic_model) for _ in range(num_critics))
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

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """Q-values `(B, num_critics)` that `forward` stands for."""
        return outputs

    def errors(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """(Q_k(s, a) - y)^2 of each transition, averaged over k: `(B, 1)`."""
        square = F.mse_loss(outputs, target.expand_as(outputs), reduction="none")
        return square.mean(1, keepdim=True)

    def reset(self, env_index: int) -> None:
        """Forget the episode of one environment."""
        for q in self.qs:
            q.reset(env_index)

    def set_eval_env_running(self, value: bool) -> None:
        """Tell the models which environments they judge."""
        for q in self.qs:
            q.eval_env_running = value


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

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        return self.from_dist(outputs)

    def errors(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = self.compute_distributional_critic_loss(outputs, self.to_dist(target))
        return loss / len(self.qs)

    def compute_distributional_critic_loss(
        self, q: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Cross-entropy of logits `(B, atoms, num_critics)`, summed over critics: `(B, 1)`.

        `target` is a distribution `(B, atoms, 1)`.
        """
        log_probabilities = F.log_softmax(q, dim=1)
        return -(target * log_probabilities).sum(dim=1).sum(dim=-1, keepdim=True)


class ActorCritic(VisionMethod, OffPolicyMethod, ABC):
    """Learns Q-functions by n-step temporal differences, and an actor that maximises them.

    One `update` is one gradient step: the critics' loss also trains encoder and view fusion; the
    actor's loss stops at the features. A subclass supplies the `policy`. The actor never sees the
    one-hot `time`: a policy on the robot has no episode clock.

    Args (those of `Method` come in addition):
        num_explore_steps: environment steps with random actions.
        actor_lr, critic_lr, view_fusion_lr, encoder_lr, weight_decay: of AdamW.
        critic_target_tau: share of the critic in each update of its target.
        num_critics: Q-functions; targets and the actor's objective take their minimum.
        actor_grad_clip, critic_grad_clip: largest gradient norm of either loss; None: no limit.
        always_bootstrap: bootstrap through terminal states as well.
        reward_scale: factor on rewards as the critics see them; logs keep the task's own units.
        weight_average: decay per update of the average of encoder, view fusion and actor that
            acts in evaluation; None: the networks themselves act.
        bc_lambda: weight of imitating transitions with `demo` = 1 in the actor's loss.
        action_sequence_network_type: "rnn" or "mlp".
        actor_model, critic_model, encoder_model, view_fusion_model: partial models.
        critic_updates_shared_vision_encoder: must be True.
        distributional_critic, distributional_critic_limit, _atoms, _transform: see
            `DistributionalCritic`.
    """

    def __init__(
        self,
        *args: Any,
        num_explore_steps: int,
        actor_lr: float,
        critic_lr: float,
        view_fusion_lr: float,
        encoder_lr: float,
        weight_decay: float,
        critic_target_tau: float,
        num_critics: int,
        actor_grad_clip: float | None,
        critic_grad_clip: float | None,
        always_bootstrap: bool,
        bc_lambda: float,
        action_sequence_network_type: str,
        actor_model: ModelFactory,
        critic_model: ModelFactory,
        encoder_model: ModelFactory | None,
        view_fusion_model: ModelFactory | None,
        critic_updates_shared_vision_encoder: bool,
        distributional_critic: bool,
        distributional_critic_limit: float,
        distributional_critic_atoms: int,
        distributional_critic_transform: bool,
        reward_scale: float = 1.0,
        weight_average: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        if not critic_updates_shared_vision_encoder:
            raise NotImplementedError("critic_updates_shared_vision_encoder=false; set it to true")
        if action_sequence_network_type not in ("rnn", "mlp"):
            raise ValueError(
                f"action_sequence_network_type={action_sequence_network_type!r} is unknown; "
                "known: rnn, mlp"
            )
        self.num_explore_steps = num_explore_steps
        self.actor_lr, self.critic_lr = actor_lr, critic_lr
        self.view_fusion_lr, self.encoder_lr = view_fusion_lr, encoder_lr
        self.weight_decay = weight_decay
        self.critic_target_tau = critic_target_tau
        self.num_critics = num_critics
        self.actor_grad_clip, self.critic_grad_clip = actor_grad_clip, critic_grad_clip
        self.always_bootstrap = always_bootstrap
        self.reward_scale = reward_scale
        self.bc_lambda = bc_lambda
        grid = distributional_critic_limit, distributional_critic_atoms
        self.distribution = *grid, distributional_critic_transform
        self.distributional_critic = distributional_critic
        self.build_encoder(encoder_model)
        self.build_view_fusion(view_fusion_model)
        self.build_critic(critic_model)
        self.build_actor(actor_model)
        self.keep_average(weight_average)

    # --- building -------------------------------------------------------------------------------

    def build_encoder(self, encoder_model: ModelFactory | None) -> None:
        """Also sets `encoder_opt`, which is None where there are no images."""
        super().build_encoder(encoder_model)
        self.encoder_opt = adamw(self.encoder, self.encoder_lr, self.weight_decay)

    def build_view_fusion(self, view_fusion_model: ModelFactory | None) -> None:
        """Also sets `view_fusion_opt`, which is None where the fusion has no parameters."""
        super().build_view_fusion(view_fusion_model)
        self.view_fusion_opt = adamw(self.view_fusion, self.view_fusion_lr, self.weight_decay)

    def build_actor_model(self, actor_model: ModelFactory, outputs_per_action: int = 1) -> Any:
        """The actor's network `(B, S, outputs_per_action * A)`, on all inputs but the time."""
        input_shapes = self.get_fully_connected_inputs()
        input_shapes.pop("time_obs", None)
        return actor_model(
            input_shapes=input_shapes,
            output_shape=outputs_per_action * self.action_space.shape[-1],
            num_envs=self.num_train_envs + 1,
        )

    def build_actor(self, actor_model: ModelFactory) -> None:
        """Set `actor` and `actor_opt`."""
        self.actor = Actor(self.build_actor_model(actor_model)).to(self.device)
        self.actor_opt = adamw(self.actor, self.actor_lr, self.weight_decay)

    def build_critic(self, critic_model: ModelFactory) -> None:
        """Set `critic`, `critic_target` and `critic_opt`, and `intr_*` for intrinsic rewards."""
        sequence, action_dim = self.action_space.shape
        pattern = critic_model(
            input_shapes={
                **self.get_fully_connected_inputs(),
                "actions": (sequence * action_dim,),
            },
            num_envs=self.num_train_envs + 1,
        )
        self.critic, self.critic_target, self.critic_opt = self._build_critic_pair(pattern)
        if self.intrinsic_reward_module is not None:
            pair = self._build_critic_pair(pattern)
            self.intr_critic, self.intr_critic_target, self.intr_critic_opt = pair

    def _build_critic_pair(
        self, pattern: Any
    ) -> tuple[Critic, Critic, torch.optim.Optimizer | None]:
        critic: Critic
        if self.distributional_critic:
            critic = DistributionalCritic(*self.distribution, pattern, self.num_critics)
        else:
            critic = Critic(pattern, self.num_critics)
        critic = critic.to(self.device)
        target = copy.deepcopy(critic).requires_grad_(False)
        return critic, target, adamw(critic, self.critic_lr, self.weight_decay)

    # --- acting ---------------------------------------------------------------------------------

    @abstractmethod
    def policy(self, features: Features, step: int) -> Policy:
        """The distribution of actions `(B, S, A)`; what is sampled from it has a gradient."""

    def sample_for_update(self, policy: Policy) -> torch.Tensor:
        """The action of a policy in targets and in the actor's loss."""
        return policy.sample()

    def act(
        self, observations: Batch, step: int, eval_mode: bool
    ) -> BatchedActionSequence | tuple[BatchedActionSequence, dict[str, Any]]:
        """Random while exploring, then a sample of the policy; its mean in evaluation."""
        if step < self.num_explore_steps and not eval_mode:
            return self.random_explore_action
        return self._act(observations, step, eval_mode)

    @torch.no_grad()
    def _act(self, observations: Batch, step: int, eval_mode: bool) -> BatchedActionSequence:
        with self.acting(eval_mode):
            policy = self.policy(self.observe(observations), step)
        return policy.mean if eval_mode else policy.sample()

    @torch.no_grad()
    def estimate_return(self, observations: Batch, action: torch.Tensor) -> torch.Tensor:
        """min_k Q_k(s, a), `(B,)`, of actions `(B, S, A)`, in units of the scaled reward."""
        return self._q_values(self.critic, self.observe(observations), action).min(1).values

    def set_eval_env_running(self, value: bool) -> None:
        super().set_eval_env_running(value)
        self.critic.set_eval_env_running(value)

    # --- learning -------------------------------------------------------------------------------

    def update(self, replay_iter: Iterator[Batch], step: int, replay_buffer: Any = None) -> Metrics:
        """One gradient step on one batch; see `Method.update`."""
        metrics: Metrics = {}
        started = time.perf_counter()
        batch = self.extract_batch(replay_iter)
        self.observe_statistics(batch)
        if self.logging:
            metrics["buffer_sample_time"] = time.perf_counter() - started
            metrics["batch_reward"] = batch["reward"].mean().item()
            metrics |= self._images_to_log(batch)

        # Two encoder passes, not one over both: only the current observation needs a gradient.
        features = self._observe_to_learn(batch, "", CURRENT_IMAGES, metrics)
        with torch.no_grad():
            next_features = self._observe_to_learn(batch, "_tp1", NEXT_IMAGES, metrics)

        critic_metrics, errors = self.update_critic(batch, features, next_features, step)
        metrics |= critic_metrics
        if replay_buffer is not None and "sampling_probabilities" in batch:
            priorities = torch.sqrt(errors + 1e-10)
            priorities = (priorities / priorities.max()) ** self.replay_alpha
            replay_buffer.set_priority(
                indices=batch["indices"].cpu().numpy(), priorities=priorities.cpu().numpy()
            )
        features = features.detach()
        if self.intrinsic_reward_module is not None:
            metrics |= self.update_intrinsic(batch, features, next_features, step)
        metrics |= self.update_actor(batch, features, step)
        soft_update_params(self.critic, self.critic_target, self.critic_target_tau)
        if self.average is not None:
            self.average.update(self)
        return metrics

    def extract_batch(self, replay_iter: Iterator[Batch]) -> Batch:
        """The next batch on this method's device; scalars of a transition become `(B, 1)`."""
        batch = {
            key: value if key == "indices" else value.to(self.device, non_blocking=True)
            for key, value in next(replay_iter).items()
        }
        for key in ("reward", "terminal", "discount", "demo"):
            if key in batch:
                batch[key] = batch[key].float().reshape(-1, 1)
        return batch

    def _observe_to_learn(
        self, batch: Batch, suffix: str, images: str, metrics: Metrics
    ) -> Features:
        fused = None
        if self.use_pixels:
            pixels = self.augment(self.extract_pixels(batch, images))
            if torch.is_grad_enabled():
                metrics |= self.update_encoder_rep(pixels)
            view_feats = self.encode(pixels)
            if torch.is_grad_enabled():
                metrics |= self.update_view_fusion_rep(view_feats.detach())
            fused = self.multi_view_fusion(view_feats)
        return Features(
            self.extract_low_dim_state(batch, suffix), fused, self.extract_time(batch, suffix)
        )

    def update_encoder_rep(self, pixels: torch.Tensor) -> Metrics:
        """One step on the encoder's own loss, where it has one."""
        return self._update_rep("encoder_aux_loss", self.encoder, self.encoder_opt, pixels)

    def update_view_fusion_rep(self, view_feats: torch.Tensor) -> Metrics:
        """One step on the view fusion's own loss, where it has one."""
        if not self.use_multicam_fusion:
            return {}
        opt = self.view_fusion_opt
        return self._update_rep("view_fusion_aux_loss", self.view_fusion, opt, view_feats)

    def _update_rep(
        self, name: str, model: Any, opt: torch.optim.Optimizer | None, x: torch.Tensor
    ) -> Metrics:
        loss = model.calculate_loss(x)
        if loss is None or opt is None:
            return {}
        self._step(loss, None, opt)
        return {name: loss.item()} if self.logging else {}

    def calculate_target_q(
        self,
        batch: Batch,
        reward: torch.Tensor,
        next_features: Features,
        critic_target: Critic,
        step: int,
    ) -> torch.Tensor:
        """y = r + [not terminal] discount V'(s'), `(B, 1)`; a truncated end goes on."""
        bootstrap = batch["discount"]
        if not self.always_bootstrap:
            bootstrap = bootstrap * (1 - batch["terminal"])
        return reward + bootstrap * self.next_value(next_features, critic_target, step)

    def next_value(self, next_features: Features, critic_target: Critic, step: int) -> torch.Tensor:
        """V'(s') = min_k Q'_k(s', a') of one action of the policy, `(B, 1)`."""
        action = self.sample_for_update(self.policy(next_features, step))
        return self._q_values(critic_target, next_features, action).min(1, keepdim=True).values

    def update_critic(
        self, batch: Batch, features: Features, next_features: Features, step: int
    ) -> tuple[Metrics, torch.Tensor]:
        """Step critics, encoder and fusion; gives metrics and each transition's loss `(B,)`."""
        opts = (self.critic_opt, self.encoder_opt, self.view_fusion_opt)
        return self._regress(
            batch, self.reward_scale * batch["reward"], features, next_features, step,
            self.critic, self.critic_target, opts,
        )  # fmt: skip

    def update_intrinsic(
        self, batch: Batch, features: Features, next_features: Features, step: int
    ) -> Metrics:
        """Step the intrinsic reward module, and the second critics on its rewards."""
        reward = self.intrinsic_reward_module.compute_irs(batch, step).detach()
        self.intrinsic_reward_module.update(batch)
        metrics, _ = self._regress(
            batch, reward, features, next_features, step,
            self.intr_critic, self.intr_critic_target, (self.intr_critic_opt,),
        )  # fmt: skip
        soft_update_params(self.intr_critic, self.intr_critic_target, self.critic_target_tau)
        if self.logging:
            metrics["batch_reward"] = reward.mean().item()
        return {f"intrinsic_{name}": value for name, value in metrics.items()}

    def _regress(
        self,
        batch: Batch,
        reward: torch.Tensor,
        features: Features,
        next_features: Features,
        step: int,
        critic: Critic,
        critic_target: Critic,
        opts: tuple[torch.optim.Optimizer | None, ...],
    ) -> tuple[Metrics, torch.Tensor]:
        """Fit `critic` to its target: the mean over critics of each one's error, weighted."""
        with torch.no_grad():
            target = self.calculate_target_q(batch, reward, next_features, critic_target, step)
        outputs = self._judge(critic, features, batch["action"])
        errors = critic.errors(outputs, target)
        loss = (errors * loss_weights(batch, self.replay_beta).unsqueeze(-1)).mean()
        self._step(loss, self.critic_grad_clip, *opts)
        if not self.logging:
            return {}, errors.detach().squeeze(1)
        means = critic.values(outputs).mean(0)
        metrics = {f"critic_q{k + 1}": value.item() for k, value in enumerate(means)}
        metrics |= {"critic_target_q": target.mean().item(), "critic_loss": loss.item()}
        return metrics, errors.detach().squeeze(1)

    def update_actor(self, batch: Batch, features: Features, step: int) -> Metrics:
        """Step the actor to maximise min_k Q_k(s, a) and, if `bc_lambda` > 0, to imitate demos."""
        features = features.detach()
        policy = self.policy(features, step)
        action = self.sample_for_update(policy)
        objective = self.actor_objective(features, action)
        loss = -(objective * loss_weights(batch, self.replay_beta).unsqueeze(-1)).mean()
        bc_metrics: Metrics = {}
        if self.bc_lambda > 0 and "demo" in batch:
            bc_loss, bc_metrics = self.get_bc_loss(policy.mean, batch)
            loss = loss + bc_loss
        self._step(loss, self.actor_grad_clip, self.actor_opt)
        if not self.logging:
            return {}
        return bc_metrics | {
            "mean_act": action.mean().item(),
            "actor_loss": loss.item(),
            "actor_logprob": policy.log_prob(action).sum(-1).mean().item(),
            "actor_ent": policy.entropy().sum(-1).mean().item(),
        }

    def actor_objective(self, features: Features, action: torch.Tensor) -> torch.Tensor:
        """min_k Q_k(s, a), `(B, 1)`, and the same of the intrinsic critics where there are any."""
        with frozen(self.critic):  # the critics' own gradients are not wanted here
            objective = self._q_values(self.critic, features, action).min(1, keepdim=True).values
        if self.intrinsic_reward_module is not None:
            with frozen(self.intr_critic):
                intrinsic = self._q_values(self.intr_critic, features, action)
            objective = objective + intrinsic.min(1, keepdim=True).values
        return objective

    def get_bc_loss(self, action: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """bc_lambda times the mean squared error to the actions of the batch's demonstrations."""
        demo = batch["demo"].squeeze(1)
        error = F.mse_loss(action, batch["action"], reduction="none").flatten(1).mean(1)
        loss = self.bc_lambda * (error * demo).sum() / demo.sum().clamp(min=1)
        if not self.logging:
            return loss, {}
        return loss, {"actor_bc_loss": loss.item(), "ratio_of_demos": demo.mean().item()}

    def _q_values(self, critic: Critic, features: Features, action: torch.Tensor) -> torch.Tensor:
        """Q-values `(B, num_critics)`, of a distributional critic as well."""
        return critic.values(self._judge(critic, features, action))

    def _judge(self, critic: Critic, features: Features, action: torch.Tensor) -> torch.Tensor:
        return critic(features.low_dim_obs, features.fused_view_feats, action, features.time_obs)

    def _step(
        self, loss: torch.Tensor, grad_clip: float | None, *opts: torch.optim.Optimizer | None
    ) -> None:
        """Descend `loss` with these optimisers, limiting the norm of all their gradients."""
        used = [opt for opt in opts if opt is not None]
        for opt in used:
            opt.zero_grad(set_to_none=True)
        loss.backward()
        if grad_clip is not None:
            groups = [group["params"] for opt in used for group in opt.param_groups]
            clip_grad_norm_([p for params in groups for p in params], grad_clip)
        for opt in used:
            opt.step()

    def _images_to_log(self, batch: Batch) -> Metrics:
        """The newest frame of the batch's first row for each colour camera, `(3, H, W)` uint8."""
        images = {key: batch[key] for key in self.observation_space.spaces if key in batch}
        return {
            key: value[0, -1].cpu().numpy()
            for key, value in images.items()
            if value.ndim == 5 and value.shape[2] == 3
        }
