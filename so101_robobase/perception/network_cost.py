"""What a network would take to look at one picture, known before it is given any memory.

Few weights can make large pictures of many channels, or take minutes: a file's size bounds neither.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from robobase.errors import UserError
from robobase.reading import MIB

MOST_OPERATIONS = 4e12
"""Multiplications and additions for a picture; Depth Anything V2 Large takes about 2e12."""
MOST_BYTES = 512 * MIB
"""Of any one tensor on its way."""


def check_cost(network: nn.Module, size: Sequence[int], where: object) -> None:
    """Raise UserError where `network`, on the device "meta", takes too much for (height, width).

    Args:
        where: the file that describes the network, for messages.
    """
    largest = _Largest()
    with FlopCounterMode(display=False) as operations, torch.inference_mode(), largest:
        try:
            network(torch.empty(1, 3, *size, device="meta"))
        except UserError:
            raise
        except Exception as error:  # of any kind, by what the file describes
            raise UserError(f"{where} describes a network that cannot be used") from error
    needed = operations.get_total_flops()
    if needed > MOST_OPERATIONS or largest.bytes > MOST_BYTES:
        raise UserError(
            f"{where} describes a network that takes {needed:.2g} operations and "
            f"{largest.bytes / MIB:,.0f} MiB at once for a picture of {size[1]} x {size[0]}; at "
            f"most {MOST_OPERATIONS:.2g} and {MOST_BYTES / MIB:.0f} MiB are given"
        )


class _Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that is made."""

    bytes = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, list | tuple) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.numel() * tensor.element_size())
        return made
