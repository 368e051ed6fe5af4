"""Scaling of inputs by the statistics of what was seen so far."""

import torch
from torch import nn

CLIP = 10.0
"""Largest normalised value: a joint that never moved in training must not shout when it does."""
LEAST_STD = 0.01
"""Least standard deviation to divide by: what hardly varies at first, such as the height of an
object that nobody has lifted yet, is not clipped when it does."""


class RunningNorm(nn.Module):
    """Shifts and scales `(..., size)` to mean 0 and variance 1 over all samples given to `observe`.

    Before the first sample it changes nothing. Mean and variance are merged exactly (Chan, Golub
    and LeVeque, 1979) and are part of the `state_dict`.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    count: torch.Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def observe(self, x: torch.Tensor) -> None:
        """Take the samples `(..., size)` into the statistics."""
        samples = x.reshape(-1, x.shape[-1]).float()
        new = float(len(samples))
        total = self.count + new
        share = (new / total).float()  # of the new samples
        variance, mean = torch.var_mean(samples, dim=0, correction=0)
        shift = mean - self.mean
        if self.count == 0:
            self.variance.zero_()
        self.variance.lerp_(variance, share).add_(share * (1 - share) * shift.square())
        self.mean.add_(share * shift)
        self.count.copy_(total)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.variance.sqrt().clamp(min=LEAST_STD)
        return ((x - self.mean) / scale).clamp(-CLIP, CLIP)
