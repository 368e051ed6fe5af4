"""Image augmentation, and finding observations in batches and spaces."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F

CURRENT_IMAGES = r"rgb(?!.*?tp1)"
"""Matches the image keys of the current observation in a batch."""
NEXT_IMAGES = r"rgb.*tp1"
"""Matches the image keys of the observation n steps later in a batch."""
IMAGES = r"rgb.*"
"""Matches the image keys of an observation space."""


def random_crop(padded: torch.Tensor, size: int) -> torch.Tensor:
    """One random `size` x `size` window per image of `(n, c, h, w)`, copied pixel by pixel."""
    batch, _, height, width = padded.shape
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)  # a view: (n, c, dy, dx, size, size)
    rows = torch.arange(batch, device=padded.device)
    dy = torch.randint(height - size + 1, (batch,), device=padded.device)
    dx = torch.randint(width - size + 1, (batch,), device=padded.device)
    return windows[rows, :, dy, dx]


def replicate_pad(x: torch.Tensor, pad: int) -> torch.Tensor:
    """Repeat the edges of `(n, c, h, w)` by `pad` pixels; of any dtype, unlike `F.pad`."""
    if pad == 0:
        return x
    batch, channels, height, width = x.shape
    out = x.new_empty(batch, channels, height + 2 * pad, width + 2 * pad)
    inner = slice(pad, -pad)
    out[:, :, inner, inner] = x
    out[:, :, inner, :pad] = x[..., :1]
    out[:, :, inner, -pad:] = x[..., -1:]
    out[:, :, :pad] = out[:, :, pad : pad + 1]
    out[:, :, -pad:] = out[:, :, -pad - 1 : -pad]
    return out


def every_nth_pixel(size: int, stride: int) -> slice:
    """The middle pixel of each cell of `stride` pixels along an axis of `size`."""
    return slice(stride // 2, size, stride)


class RandomShiftsAug(nn.Module):
    """Shifts each image by up to `pad` pixels per axis, edges repeated (Kostrikov et al., 2020).

    Shifts are whole pixels and pixels are copied, never interpolated, so class ids stay ids and
    any dtype will do. The channels of an image (its stacked frames) share one shift. With a
    `stride` only every `stride`-th pixel of the shifted image is made.
    """

    def __init__(self, pad: int, stride: int = 1):
        super().__init__()
        self.pad = pad
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, c, h, h)` to the same shape, or to `(n, c, k, k)` with k pixels at the stride."""
        size = x.shape[-1]
        assert x.shape[-2] == size, f"images must be square, got {tuple(x.shape)}"
        if self.stride == 1:
            return random_crop(replicate_pad(x, self.pad), size)
        kept = torch.arange(size, device=x.device)[every_nth_pixel(size, self.stride)]
        shifts = torch.randint(-self.pad, self.pad + 1, (2, len(x), 1), device=x.device)
        rows, columns = (kept + shifts).clamp_(0, size - 1)  # (n, k) each
        pixels = (rows.unsqueeze(2) * size + columns.unsqueeze(1)).flatten(1)  # (n, k*k)
        taken = x.flatten(2).gather(2, pixels.unsqueeze(1).expand(-1, x.shape[1], -1))
        return taken.unflatten(2, (len(kept), len(kept)))


class TimeConsistentRandomShiftsAug(nn.Module):
    """As `RandomShiftsAug` for videos: one shift per video, black beyond the edge."""

    def __init__(self, pad: int):
        super().__init__()
        self.pad = pad

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(B, T, C, h, h)` to the same shape."""
        size = x.shape[-1]
        assert x.shape[-2] == size, f"images must be square, got {tuple(x.shape)}"
        padded = F.pad(x.flatten(1, 2), (self.pad,) * 4)
        return random_crop(padded, size).view_as(x)


def flatten_time_dim_into_channel_dim(
    tensor: torch.Tensor, has_view_axis: bool = False
) -> torch.Tensor:
    """`(B, T, C, ...)` to `(B, T*C, ...)`, or `(B, V, T, C, ...)` to `(B, V, T*C, ...)`."""
    axis = 2 if has_view_axis else 1
    return tensor.flatten(axis, axis + 1)


def merge_tensor_dictionary(tensors: Mapping[str, torch.Tensor], dim: int) -> torch.Tensor:
    """Concatenate the values along `dim`."""
    return torch.cat(list(tensors.values()), dim)


def stack_tensor_dictionary(tensors: Mapping[str, torch.Tensor], dim: int) -> torch.Tensor:
    """Stack the values along a new axis `dim`; a single value is viewed, not copied."""
    values = list(tensors.values())
    return values[0].unsqueeze(dim) if len(values) == 1 else torch.stack(values, dim)


def extract_from_batch(
    batch: Mapping[str, torch.Tensor], key: str, missing_ok: bool = False
) -> torch.Tensor | None:
    """`batch[key]`; where it is missing None if `missing_ok`, else ValueError."""
    return _extract(batch, key, missing_ok, "batch")


def extract_from_spec(spec: spaces.Dict, key: str, missing_ok: bool = False) -> Any:
    """`spec[key]`; where it is missing None if `missing_ok`, else ValueError."""
    return _extract(spec.spaces, key, missing_ok, "observation space")


def extract_many_from_batch(
    batch: Mapping[str, torch.Tensor], regex: str, missing_ok: bool = False
) -> dict[str, torch.Tensor]:
    """Entries whose key matches `regex` from its start; none is ValueError unless `missing_ok`."""
    return _extract_many(batch, regex, missing_ok, "batch")


def extract_many_from_spec(
    spec: spaces.Dict, regex: str, missing_ok: bool = False
) -> dict[str, Any]:
    """Spaces whose key matches `regex` from its start; none is ValueError unless `missing_ok`."""
    return _extract_many(spec.spaces, regex, missing_ok, "observation space")


def _extract(entries: Mapping[str, Any], key: str, missing_ok: bool, what: str) -> Any:
    if key not in entries and not missing_ok:
        raise ValueError(f"{key!r} is not in the {what}; it has {sorted(entries)}")
    return entries.get(key)


def _extract_many(
    entries: Mapping[str, Any], regex: str, missing_ok: bool, what: str
) -> dict[str, Any]:
    found = {key: value for key, value in entries.items() if re.match(regex, key)}
    if not found and not missing_ok:
        raise ValueError(f"nothing in the {what} matches {regex!r}; it has {sorted(entries)}")
    return found


def loss_weights(batch: Mapping[str, torch.Tensor], beta: float = 1.0) -> torch.Tensor:
    """Importance weights `(B,)` of prioritised samples (Schaul et al., 2016); else ones.

    w = (p ** -1/2 / max(p ** -1/2)) ** beta with p = `batch["sampling_probabilities"]`.
    """
    probabilities = batch.get("sampling_probabilities")
    if probabilities is None:
        action = batch["action"]
        return torch.ones(len(action), device=action.device)
    weights = 1.0 / torch.sqrt(probabilities.float() + 1e-10)
    return (weights / weights.max()) ** beta


def adamw(module: nn.Module | None, lr: float, weight_decay: float) -> torch.optim.Optimizer | None:
    """AdamW over a module's parameters; None where there are none."""
    parameters = [] if module is None else list(module.parameters())
    if not parameters:
        return None
    fused = parameters[0].device.type in ("cpu", "cuda")  # one pass over memory, not twelve
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=fused)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients flow through `module`, but compute none of its own parameters."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
