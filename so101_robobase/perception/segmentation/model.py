"""The network: camera pictures -> one score per class and pixel.

Decoders come from segmentation-models-pytorch, encoders from timm (`tu-` names); nothing here knows
of files or training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from robobase.errors import UserError
from so101_robobase.base.extras import require_perception
from so101_robobase.perception.quiet import quiet
from so101_robobase.vision.observation import CLASSES

# Of ImageNet, RGB of 0..255, as timm's weights were trained with (timm.data.constants).
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)

_STRIDE = 32  # of the deepest features of the encoders: pictures must divide by it


@dataclass(frozen=True)
class ModelSpec:
    """Everything that decides the shapes of the weights, and the size of the pictures.

    Attributes:
        size: (height, width) that frames are resized to; multiples of 32.
        decoder_options: keyword arguments of the decoder in segmentation-models-pytorch.
    """

    decoder: str
    encoder: str
    size: tuple[int, int]
    decoder_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = tuple(self.size)
        if len(sizes) != 2 or any(edge < _STRIDE or edge % _STRIDE for edge in sizes):
            raise UserError(
                f"model.size={list(sizes)} must be [height, width] in multiples of {_STRIDE}"
            )

    def state_dict(self) -> dict[str, Any]:
        """Plain containers, as they stand in a checkpoint."""
        return asdict(self) | {"size": list(self.size)}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "ModelSpec":
        """The opposite of `state_dict`."""
        return cls(**{**state, "size": tuple(state["size"])})


class SegmentationNetwork(nn.Module):
    """Encoder, decoder and a 3x3 convolution to one logit per class.

    The logits stay at the decoder's own resolution (a quarter of the picture's for an FPN):
    `upsample` brings them to any size. The head of segmentation-models-pytorch would align corners,
    which moves what is seen by up to 1.5 pixels at the border of the picture.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ModelSpec, pretrained: bool = False):
        """Builds the network, with ImageNet weights in the encoder if `pretrained`.

        Raises:
            UserError: decoder, encoder or options are unknown, or packages are missing.
            OSError, RuntimeError: the weights cannot be had (`pretrained` only).
        """
        super().__init__()
        self.spec = spec
        self.body = _create(spec, pretrained)
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, h, w) float32 BGR of 0..255 -> logits (N, classes, h', w')."""
        rgb = pictures.flip(1)  # OpenCV's order ends here
        return self.body((rgb - self.mean) / self.std)

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def upsample(logits: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, h', w') -> (N, C, *size), bilinear between the centres of pixels."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return nn.functional.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def _create(spec: ModelSpec, pretrained: bool) -> nn.Module:
    timm = require_perception("timm")
    smp = require_perception("segmentation_models_pytorch")
    decoders = sorted(smp.MODEL_ARCHITECTURES_MAPPING)
    if spec.decoder.lower() not in decoders:
        raise UserError(f"model.decoder={spec.decoder!r} is unknown; known: {', '.join(decoders)}")
    name = spec.encoder.removeprefix("tu-").split(".")[0]
    if spec.encoder.startswith("tu-") and not timm.is_model(name):
        raise UserError(
            f"model.encoder={spec.encoder!r}: timm has no {name!r}; see timm.list_models(), or "
            "take tu-efficientvit_b0"
        )
    if not spec.encoder.startswith("tu-") and spec.encoder not in smp.encoders.encoders:
        raise UserError(
            f"model.encoder={spec.encoder!r} is unknown; give tu-<name of a timm model>, such as "
            "tu-efficientvit_b0, or one of segmentation-models-pytorch"
        )
    # smp wants True for encoders of timm and a name for its own.
    weights = None if not pretrained else True if spec.encoder.startswith("tu-") else "imagenet"
    options = {"upsampling": 1} if spec.decoder.lower() == "fpn" else {}
    try:
        with quiet("huggingface_hub"):
            return smp.create_model(
                spec.decoder,
                encoder_name=spec.encoder,
                encoder_weights=weights,
                classes=len(CLASSES),
                **options,
                **spec.decoder_options,
            )
    except (TypeError, ValueError, KeyError, NotImplementedError) as error:
        if isinstance(error, OSError):  # the hub's errors are some of both
            raise
        raise UserError(
            f"{spec.decoder} on {spec.encoder} with {dict(spec.decoder_options)} cannot be built: "
            f"{error}"
        ) from error
