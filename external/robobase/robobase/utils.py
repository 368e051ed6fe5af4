"""Small tools of a training run: seeds, schedules, initialisers, distributions, demos.

`Demo` and `DemoEnv` are re-exported for code written against RoboBase.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform as TanhTransform

from robobase.envs.env import Demo as Demo
from robobase.envs.env import DemoEnv as DemoEnv
from robobase.replay_buffer.replay_buffer import ReplayBuffer
from robobase.schedules import schedule as schedule


@contextmanager
def eval_mode(*models: nn.Module) -> Iterator[None]:
    """Inside the block every model is in evaluation mode; after it each is as it was."""
    before = [model.training for model in models]
    try:
        for model in models:
            model.train(False)
        yield
    finally:
        for model, training in zip(models, before, strict=True):
            model.train(training)


def independent_seeds(count: int, *key: int) -> list[int]:
    """`count` seeds below 2**32 from `numpy.random.SeedSequence(key)`.

    Unlike `seed`, `seed + 1`, ... those of neighbouring keys have none in common.
    """
    return np.random.SeedSequence(key).generate_state(count).tolist()


def set_seed_everywhere(seed: int) -> None:
    """Seed torch (all devices), numpy's global generator and `random`."""
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)
    np.random.seed(seed)  # noqa: NPY002 - other people's code draws from the global generator
    random.seed(seed)


@torch.no_grad()
def soft_update_params(
    net: nn.Module, target_net: nn.Module, tau: float, update_second_net: bool = True
) -> None:
    """Polyak average of the parameters: `tau * net + (1 - tau) * target_net`, in place.

    Written into `target_net`, or into `net` if `update_second_net` is false.
    """
    online: list[Tensor] = list(net.parameters())
    target: list[Tensor] = list(target_net.parameters())
    if update_second_net:
        torch._foreach_lerp_(target, online, tau)
    else:
        torch._foreach_lerp_(online, target, 1.0 - tau)


def weight_init(m: nn.Module) -> None:
    """For `module.apply`: orthogonal weights (gain √2 before ReLU in convolutions), zero biases."""
    if isinstance(m, nn.Linear):
        nn.init.orthogonal_(m.weight)
    elif isinstance(m, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.orthogonal_(m.weight, nn.init.calculate_gain("relu"))
    elif isinstance(m, nn.LayerNorm):
        nn.init.ones_(m.weight)
    else:
        return
    if m.bias is not None:
        nn.init.zeros_(m.bias)


def uniform_weight_init(scale: float) -> Callable[[nn.Module], None]:
    """Initialiser drawing weights from U(±sqrt(3 * scale / mean fan)); biases zero."""

    def init(m: nn.Module) -> None:
        if isinstance(m, nn.Linear):
            fan_in, fan_out = m.in_features, m.out_features
        elif isinstance(m, nn.Conv2d | nn.ConvTranspose2d):
            area = int(np.prod(m.kernel_size))
            fan_in, fan_out = m.in_channels * area, m.out_channels * area
        elif isinstance(m, nn.LayerNorm):
            nn.init.ones_(m.weight)
            nn.init.zeros_(m.bias)
            return
        else:
            return
        limit = float(np.sqrt(3 * scale / ((fan_in + fan_out) / 2)))
        nn.init.uniform_(m.weight, -limit, limit)
        if m.bias is not None:
            nn.init.zeros_(m.bias)

    return init


class Until:
    """True while `step < until // action_repeat`; always if `until` is None."""

    def __init__(self, until: int | None, action_repeat: int = 1):
        self._limit = None if until is None else until // action_repeat

    def __call__(self, step: int) -> bool:
        return self._limit is None or step < self._limit


class Every:
    """True at step 0 and each `every // action_repeat` steps; never if `every` is None or 0."""

    def __init__(self, every: int | None, action_repeat: int = 1):
        self._period = max(1, every // action_repeat) if every else None

    def __call__(self, step: int) -> bool:
        return self._period is not None and step % self._period == 0


class Timer:
    """Wall-clock seconds since construction and since the last `reset()`."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()

    def reset(self) -> tuple[float, float]:
        """(seconds since the last reset, seconds since construction)."""
        now = time.monotonic()
        elapsed, self._last = now - self._last, now
        return elapsed, now - self._start

    def total_time(self) -> float:
        """Seconds since construction."""
        return time.monotonic() - self._start


def _clamp_straight_through(x: Tensor, low: float, high: float) -> Tensor:
    """Clamped value, gradient of the identity."""
    return x - x.detach() + x.detach().clamp(low, high)


class TruncatedNormal(Normal):
    """Normal whose samples are clamped to [low + eps, high - eps], with straight-through gradient.

    The exploration distribution of DrQ-v2 (Yarats et al. 2021); `.mean` is `loc`.
    """

    def __init__(
        self, loc: Tensor, scale: Tensor | float, low=-1.0, high=1.0, eps: float = 1e-6
    ) -> None:
        super().__init__(loc, scale, validate_args=False)
        self.low, self.high, self.eps = low, high, eps

    def sample(self, clip: float | None = None, sample_shape=()) -> Tensor:  # type: ignore[override]
        """Differentiable in `loc`; the noise is clamped to ±`clip` first."""
        shape = self._extended_shape(sample_shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device) * self.scale
        if clip is not None:
            noise = noise.clamp(-clip, clip)
        return _clamp_straight_through(self.loc + noise, self.low + self.eps, self.high - self.eps)


class SquashedNormal(TransformedDistribution):
    """tanh of a normal, with log-probabilities; `.mean` is tanh(loc)."""

    def __init__(self, loc: Tensor, scale: Tensor, low=-1.0, high=1.0, eps: float = 1e-6) -> None:
        self.loc, self.scale = loc, scale
        self.low, self.high, self.eps = low, high, eps
        super().__init__(
            Normal(loc, scale, validate_args=False),
            [TanhTransform(cache_size=1)],
            validate_args=False,
        )

    @property
    def mean(self) -> Tensor:
        return torch.tanh(self.loc)

    def sample(self, clip: float | None = None, sample_shape=()) -> Tensor:  # type: ignore[override]
        """Differentiable; noise before the tanh is clamped to ±`clip`, the value to (low, high)."""
        shape = self._extended_shape(sample_shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device) * self.scale
        if clip is not None:
            noise = noise.clamp(-clip, clip)
        value = torch.tanh(self.loc + noise)
        return _clamp_straight_through(value, self.low + self.eps, self.high - self.eps)


def rescale_demo_actions(
    rescale_fn: Callable[[dict[str, Any], Any], np.ndarray], demos: list[Demo], cfg: Any
) -> list[Demo]:
    """Replace each step's `info["demo_action"]` by `rescale_fn(info, cfg)`, in place."""
    for demo in demos:
        for *_, info in demo:
            if "demo_action" in info:
                info["demo_action"] = rescale_fn(info, cfg)
    return demos


def add_demo_to_replay_buffer(wrapped_env: gym.Env, replay_buffer: ReplayBuffer) -> None:
    """Play one demo of a (wrapped) `DemoEnv` to its end and add it as one episode.

    The executed actions are the recorded ones and must lie in [-1, 1] (`AssertionError`).
    """
    has_demo_flag = "demo" in replay_buffer.get_storage_signature()[0]
    observation, info = wrapped_env.reset()
    done = False
    while not done:
        next_observation, reward, terminated, truncated, next_info = wrapped_env.step(
            wrapped_env.action_space.sample()
        )
        action = next_info.pop("demo_action")
        assert np.all(np.abs(action) <= 1.0), f"demo action {action} is outside [-1, 1]"
        extras = {"demo": info["demo"]} if has_demo_flag else {}
        replay_buffer.add(observation, action, reward, terminated, truncated, **extras)
        observation, info = next_observation, next_info
        done = terminated or truncated
    replay_buffer.add_final(observation)


class DemoMergedIterator:
    """Concatenates a batch of experience and a batch of demonstrations, along dimension 0."""

    def __init__(self, it: Iterator[dict[str, Tensor]], demo_it: Iterator[dict[str, Tensor]]):
        self._it, self._demo_it = it, demo_it
        self._checked = False

    def __iter__(self) -> "DemoMergedIterator":
        return self

    def __next__(self) -> dict[str, Tensor]:
        batch, demo_batch = next(self._it), next(self._demo_it)
        if not self._checked:
            assert batch.keys() == demo_batch.keys(), (
                f"experience has {sorted(batch)}, demonstrations have {sorted(demo_batch)}"
            )
            self._checked = True
        demo_batch["demo"] = torch.ones_like(demo_batch["demo"])
        return {key: torch.cat([batch[key], demo_batch[key]]) for key in batch}


def merge_replay_demo_iter(
    it: Iterator[dict[str, Tensor]], demo_it: Iterator[dict[str, Tensor]]
) -> DemoMergedIterator:
    """Endless batches that hold experience first, then demonstrations."""
    return DemoMergedIterator(it, demo_it)
