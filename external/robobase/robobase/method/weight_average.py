"""An average over training of the networks that act, for evaluation and use."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from robobase.errors import UserError

ACTING = ("encoder", "view_fusion", "actor")
"""The submodules of a method that decide its actions."""


class WeightAverage(nn.Module):
    """Exponential moving averages of an owner's `ACTING` submodules (Polyak and Juditsky, 1992).

    Gradient steps make the weights wander around a good policy; their average stays near it.

    Args:
        owner: the module whose submodules are averaged.
        decay: of the average per update, below 1: 0.998 remembers about 500 updates.
    """

    def __init__(self, owner: nn.Module, decay: float):
        super().__init__()
        if not 0 <= decay < 1:
            raise UserError(f"method.weight_average={decay}: give a number from 0 to below 1")
        present = {name: getattr(owner, name) for name in ACTING}
        self.averages = nn.ModuleDict(
            {
                name: AveragedModel(
                    module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True
                ).requires_grad_(False)
                for name, module in present.items()
                if module is not None
            }
        )

    def update(self, owner: nn.Module) -> None:
        """Take the owner's present weights into the average; the first ones are copied."""
        for name, average in self.averages.items():
            assert isinstance(average, AveragedModel)
            average.update_parameters(getattr(owner, name))

    def __getitem__(self, name: str) -> nn.Module:
        """The averaged submodule of this name."""
        average = self.averages[name]
        assert isinstance(average, AveragedModel)
        return average.module

    @contextmanager
    def standing_in(self, owner: nn.Module) -> Iterator[None]:
        """Within this context the owner's submodules are the averaged ones."""
        live = {name: getattr(owner, name) for name in self.averages}
        try:
            for name in self.averages:
                setattr(owner, name, self[name])
            yield
        finally:
            for name, module in live.items():
                setattr(owner, name, module)
