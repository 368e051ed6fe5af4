"""What every intrinsic reward module does: see a batch, reward it, learn from it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from gymnasium import spaces
from torch import nn

from robobase.method.utils import (
    CURRENT_IMAGES,
    IMAGES,
    NEXT_IMAGES,
    extract_from_spec,
    extract_many_from_batch,
    extract_many_from_spec,
)

Batch = Mapping[str, torch.Tensor]


class IntrinsicRewardModule(nn.Module, ABC):
    """A reward for transitions that are new to it, weighted beta (1 - kappa)^step.

    Where there are images it looks at them alone: all views and frames as channels. Otherwise at
    the newest `low_dim_state`. `observation_shape` is what it sees of one observation.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        device: torch.device | str,
        beta: float = 0.05,
        kappa: float = 0.000025,
    ):
        super().__init__()
        self.device = torch.device(device)
        self.action_space = action_space
        self.beta = beta
        self.kappa = kappa
        images = extract_many_from_spec(observation_space, IMAGES, missing_ok=True)
        self.use_pixels = bool(images)
        self.observation_shape: tuple[int, ...]
        if self.use_pixels:
            frames, channels, height, width = next(iter(images.values())).shape
            self.observation_shape = (len(images) * frames * channels, height, width)
        else:
            self.observation_shape = extract_from_spec(observation_space, "low_dim_state").shape[
                -1:
            ]

    def extract(self, batch: Batch, is_next: bool) -> torch.Tensor:
        """Current or next observations of a batch, `(B, *observation_shape)` floats.

        Images become -0.5..0.5.
        """
        if self.use_pixels:
            regex = NEXT_IMAGES if is_next else CURRENT_IMAGES
            views = [view.flatten(1, 2) for view in extract_many_from_batch(batch, regex).values()]
            return torch.cat(views, 1).to(self.device).float() / 255 - 0.5
        key = "low_dim_state_tp1" if is_next else "low_dim_state"
        return batch[key][:, -1].to(self.device).float()

    def weight(self, step: int) -> float:
        """beta (1 - kappa)^step."""
        return self.beta * (1 - self.kappa) ** step

    @abstractmethod
    def compute_irs(self, batch: Batch, step: int = 0) -> torch.Tensor:
        """Rewards `(B, 1)`, float32, without gradient."""

    @abstractmethod
    def update(self, batch: Batch) -> None:
        """Learn from a batch, so that it becomes less new."""
