"""Image encoders: from camera images to one feature vector per view."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from robobase.errors import UserError
from robobase.models.core import (
    RoboBaseModule,
    get_activation_fn_from_str,
    get_normalization_fn_from_str,
)
from robobase.models.image_input import ImageInput
from robobase.utils import weight_init


class EncoderModule(RoboBaseModule):
    """Encodes `(B, V, C, H, W)` images to `(B, V, F)` features; `input_shape = (V, C, H, W)`."""

    def __init__(self, input_shape: tuple[int, int, int, int]):
        super().__init__()
        assert len(input_shape) == 4, f"input_shape={tuple(input_shape)} must be (V, C, H, W)"
        self.input_shape = tuple(int(n) for n in input_shape)


class EncoderCNNMultiViewDownsampleWithStrides(EncoderModule):
    """One stack of convolutions per view: strided ones first, then ones of stride 1.

    Args:
        input_shape: (V, C, H, W); C counts the stacked frames' channels.
        num_downsample_convs: convolutions that reduce resolution, the first by `stem_stride`, the
            others by 2.
        num_post_downsample_convs: convolutions of stride 1 after them.
        channels: output channels of the first convolution.
        kernel_size, padding: of every convolution (the stem's kernel: see `stem_kernel_size`).
        channels_multiplier: factor on the channels after each convolution.
        activation, norm: names known to `models.core`; each convolution is followed by both.
        normalise_inputs: scale value channels from 0..255 to -0.5..0.5.
        channel_kinds, num_classes: which channels of a frame hold class ids, to be expanded to
            one-hot planes; see `ImageInput`. None: no channel does.
        stem_stride: stride of the first downsampling convolution.
        stem_kernel_size: its kernel. None: `kernel_size`, or `stem_stride` where that is larger,
            so that no pixel is skipped.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int, int],
        num_downsample_convs: int = 1,
        num_post_downsample_convs: int = 3,
        channels: int = 32,
        kernel_size: int = 3,
        padding: int = 0,
        channels_multiplier: int = 1,
        activation: str = "relu",
        norm: str = "identity",
        normalise_inputs: bool = True,
        channel_kinds: Sequence[str] | None = None,
        num_classes: int | None = None,
        stem_stride: int = 2,
        stem_kernel_size: int | None = None,
    ):
        super().__init__(input_shape)
        views, in_channels, height, width = self.input_shape
        if stem_kernel_size is None:
            stem_kernel_size = max(kernel_size, stem_stride)
        strides = [stem_stride, *[2] * num_downsample_convs][:num_downsample_convs]
        strides += [1] * num_post_downsample_convs
        kernels = [kernel_size] * len(strides)
        if num_downsample_convs > 0:
            kernels[0] = stem_kernel_size
        self.image_input = ImageInput(in_channels, normalise_inputs, channel_kinds, num_classes)
        activation_cls = get_activation_fn_from_str(activation)
        norm_fn = get_normalization_fn_from_str(norm)

        def build_stack() -> tuple[nn.Sequential, int]:
            layers: list[nn.Module] = []
            n_in, n_out, size = self.image_input.out_channels, channels, [height, width]
            for kernel, stride in zip(kernels, strides, strict=True):
                layers += [
                    nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=padding),
                    norm_fn(n_out),
                    activation_cls(),
                ]
                size = [(s + 2 * padding - kernel) // stride + 1 for s in size]
                n_in, n_out = n_out, n_out * channels_multiplier
            if min(size) < 1:
                raise UserError(
                    f"an image of {height}x{width} pixels is too small for convolutions of kernels "
                    f"{kernels} and strides {strides}; take fewer of them or a larger image"
                )
            return nn.Sequential(*layers), n_in * math.prod(size)

        stacks = [build_stack() for _ in range(views)]
        self.convs_per_view = nn.ModuleList(stack for stack, _ in stacks)
        self._output_shape = (views, stacks[0][1])
        self.apply(weight_init)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self._output_shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(B, V, C, H, W)` images of 0..255 (float or uint8) to `(B, V, F)`."""
        assert tuple(x.shape[1:]) == self.input_shape, (
            f"expected (B, {', '.join(map(str, self.input_shape))}), got {tuple(x.shape)}"
        )
        features = [
            convs(self.image_input(x[:, view])).flatten(1)
            for view, convs in enumerate(self.convs_per_view)
        ]
        # A stack of one would copy the features, 40 MB at batch 256.
        return features[0].unsqueeze(1) if len(features) == 1 else torch.stack(features, dim=1)
