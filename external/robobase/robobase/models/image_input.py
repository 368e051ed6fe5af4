"""From stored image channels to the numbers a convolution sees: scaled values, one-hot ids."""

from collections.abc import Sequence

import torch
from torch import nn

from robobase.errors import UserError

CHANNEL_KINDS = ("value", "ids")


class ImageInput(nn.Module):
    """Turns `(B, C, H, W)` images of 0..255, uint8 or float, into `(B, out_channels, H, W)` floats.

    The result lies in memory channels last, in which CPU convolutions are about three times faster
    (`benchmarks/update_throughput.py`).

    `channel_kinds` names the channels of *one frame*; a stack of T frames repeats them T times.
    A "value" channel becomes x/255 - 0.5 if `normalise_inputs`. An "ids" channel becomes
    `num_classes` planes of 0 or 1: divided by 255 the class ids would be almost one value. An id
    outside 0..num_classes-1 lights no plane. One-hot planes come first, values after them.
    `channel_kinds=None`: every channel is a value.
    """

    def __init__(
        self,
        channels: int,
        normalise_inputs: bool = True,
        channel_kinds: Sequence[str] | None = None,
        num_classes: int | None = None,
    ):
        super().__init__()
        kinds = list(channel_kinds) if channel_kinds is not None else ["value"]
        unknown = sorted(set(kinds) - set(CHANNEL_KINDS))
        if unknown or not kinds:
            raise UserError(f"channel_kinds={kinds} is wrong; use one of {CHANNEL_KINDS} a channel")
        if channels % len(kinds) != 0:
            raise UserError(
                f"channel_kinds={kinds} names {len(kinds)} channels per frame, but the image has "
                f"{channels} channels in all; give one kind per channel of one frame"
            )
        if "ids" in kinds and (num_classes is None or num_classes < 2):
            raise UserError(f"num_classes={num_classes} with ids channels; give at least 2")
        stacked = kinds * (channels // len(kinds))
        self.id_channels = [i for i, kind in enumerate(stacked) if kind == "ids"]
        self.value_channels = [i for i, kind in enumerate(stacked) if kind == "value"]
        self.num_classes = num_classes or 0
        self.normalise_inputs = normalise_inputs
        self.out_channels = len(self.id_channels) * self.num_classes + len(self.value_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        if self.id_channels:
            # Still bytes where x is: a quarter of the memory to write before the one conversion.
            ids = x[:, self.id_channels]
            ids = ids.round() if ids.is_floating_point() else ids
            classes = torch.arange(self.num_classes, device=x.device, dtype=ids.dtype)
            planes = (ids.unsqueeze(2) == classes.view(-1, 1, 1)).flatten(1, 2).to(x.dtype)
            x = torch.cat([planes, x[:, self.value_channels]], dim=1)
        out = x.to(dtype, memory_format=torch.channels_last, copy=True)
        if self.normalise_inputs:
            out[:, len(self.id_channels) * self.num_classes :].mul_(1 / 255).sub_(0.5)
        return out
