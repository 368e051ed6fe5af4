"""From stored image channels to the numbers a convolution sees: scaled values, one-hot ids."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from robobase.errors import UserError

CHANNEL_KINDS = ("value", "ids")
MAX_TABLE_ROWS = 4096
"""Of the table from the ids of one pixel to its one-hot numbers; more ids take several tables."""


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
        kinds_of_id = max(2, self.num_classes + 1)  # with the unknown one
        self.ids_per_table = max(1, int(math.log(MAX_TABLE_ROWS, kinds_of_id)))
        # All but the last table are full; the last one leaves room for the values after its planes.
        groups = self._grouped(self.id_channels)
        for i, group in enumerate(groups):
            room = len(self.value_channels) if i == len(groups) - 1 else 0
            table = self._one_hot_table(len(group), room)
            self.register_buffer(f"table_{i}", table, persistent=False)

    def _grouped(self, channels: list[int]) -> list[list[int]]:
        size = self.ids_per_table
        return [channels[i : i + size] for i in range(0, len(channels), size)]

    def _one_hot_table(self, num_ids: int, zeros_after: int) -> torch.Tensor:
        """`((num_classes + 1)**num_ids, num_ids * num_classes + zeros_after)`.

        A row for every combination of ids, the last id counting fastest; the id `num_classes`
        stands for all unknown ones.
        """
        one_hot = torch.eye(self.num_classes + 1, self.num_classes)
        table = torch.zeros(1, 0)
        for _ in range(num_ids):
            firsts = table.repeat_interleave(len(one_hot), dim=0)
            table = torch.cat([firsts, one_hot.repeat(len(table), 1)], dim=1)
        return nn.functional.pad(table, (0, zeros_after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
        values = x[:, self.value_channels].to(dtype)  # a copy, even of the same dtype
        if self.normalise_inputs:
            values = values.mul_(1 / 255).sub_(0.5)
        if not self.id_channels:
            return values.contiguous(memory_format=torch.channels_last)
        parts = []
        for i, group in enumerate(self._grouped(self.id_channels)):
            table = self.get_buffer(f"table_{i}").to(dtype)
            rows = table.index_select(0, self._row(x, group).flatten())
            parts.append(rows.view(len(x), *x.shape[-2:], table.shape[1]))
        if self.value_channels:
            parts[-1][..., -len(self.value_channels) :] = values.permute(0, 2, 3, 1)
        out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        return out.permute(0, 3, 1, 2)

    def _row(self, x: torch.Tensor, channels: list[int]) -> torch.Tensor:
        """The row of the table that holds each pixel's ids, `(B, H, W)`."""
        row = torch.zeros((), dtype=torch.int32, device=x.device)
        for channel in channels:
            ids = x[:, channel]
            if ids.is_floating_point():
                ids = ids.round()
                ids = ids.where(ids >= 0, self.num_classes)
            row = row * (self.num_classes + 1) + ids.int().clamp_(max=self.num_classes)
        return row
