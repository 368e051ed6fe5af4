"""From observations to features, for every method that sees: images through encoder and fusion."""

from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from gymnasium import spaces

from robobase.compute import has_fast_bfloat16
from robobase.errors import UserError
from robobase.method.core import Method
from robobase.method.utils import (
    CURRENT_IMAGES,
    IMAGES,
    RandomShiftsAug,
    every_nth_pixel,
    extract_from_batch,
    extract_from_spec,
    extract_many_from_batch,
    extract_many_from_spec,
    flatten_time_dim_into_channel_dim,
    stack_tensor_dictionary,
)
from robobase.method.weight_average import WeightAverage
from robobase.models.running_norm import RunningNorm

PRECISIONS = ("float32", "bfloat16", "auto")


class Features(NamedTuple):
    """What actor and critic see; None where the observation has no such part.

    Each is `(B, Z)`, or `(B, T, Z)` where frames are not stacked on the channel.
    """

    low_dim_obs: torch.Tensor | None
    fused_view_feats: torch.Tensor | None
    time_obs: torch.Tensor | None

    def detach(self) -> "Features":
        """The same features, through which no gradient reaches the encoder."""
        return Features(*(None if part is None else part.detach() for part in self))


class VisionMethod(Method, ABC):
    """A method with an actor, an image encoder and, for several cameras, a view fusion.

    Shapes with `frame_stack_on_channel`: images `(B, V, T*C, H, W)` to views `(B, V, F)` to one
    vector `(B, F')`. Without: T is folded into the batch, and fusing gives `(B, T, F')`.

    Args (those of `Method` come in addition):
        image_stride: look at every `image_stride`-th pixel per axis alone. 3 costs a ninth; the
            random shifts of learning still bring every pixel before the encoder in turn.
        normalise_low_dim: scale proprioception by the mean and variance of the batches learnt from.
        use_augmentation: shift images at random in learning, as DrQ-v2 does.
        augmentation_pixels: largest shift per axis; 4 for 84 x 84 pixels in DrQ-v2, section 3.1.
        encoder_precision: of the encoder in learning: "float32", "bfloat16", or "auto" for bfloat16
            where the device computes in it. Parameters, heads and acting are float32 always.
    """

    def __init__(
        self,
        *args: Any,
        image_stride: int = 1,
        normalise_low_dim: bool = False,
        use_augmentation: bool = False,
        augmentation_pixels: int = 4,
        encoder_precision: str = "float32",
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        if image_stride < 1:
            raise UserError(f"method.image_stride={image_stride}: give 1 for every pixel, or more")
        if augmentation_pixels < 1:
            raise UserError(
                f"method.augmentation_pixels={augmentation_pixels}: give at least 1, or "
                "method.use_augmentation=false"
            )
        if encoder_precision not in PRECISIONS:
            raise UserError(
                f"method.encoder_precision={encoder_precision}: use {', '.join(PRECISIONS)}"
            )
        self.image_stride = image_stride
        self.aug = RandomShiftsAug(augmentation_pixels, image_stride) if use_augmentation else None
        if encoder_precision == "auto":
            self.learns_in_bfloat16 = has_fast_bfloat16(self.device)
        else:
            self.learns_in_bfloat16 = encoder_precision == "bfloat16"
        self.encoder: Any = None
        self.view_fusion: Any = None
        self.average: WeightAverage | None = None
        images = extract_many_from_spec(self.observation_space, IMAGES, missing_ok=True)
        shapes = {key: space.shape for key, space in images.items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"all cameras must share one shape, got {shapes}")
        self.num_views = len(images)
        self.use_pixels = self.num_views > 0
        self.use_multicam_fusion = self.num_views > 1
        low_dim = extract_from_spec(self.observation_space, "low_dim_state", missing_ok=True)
        time_obs = extract_from_spec(self.observation_space, "time", missing_ok=True)
        self.low_dim_size = self._size_of(low_dim)
        self.time_obs_size = self._size_of(time_obs)
        self.low_dim_norm: RunningNorm | None = None
        if normalise_low_dim and low_dim is not None:
            self.low_dim_norm = RunningNorm(low_dim.shape[-1]).to(self.device)
        first: Any = next(iter(self.observation_space.values()))
        self.time_dim = int(first.shape[0])
        self.rgb_latent_size = 0

    def _size_of(self, space: spaces.Box | None) -> int:
        """Features of a `(T, Z)` space: T*Z where frames are stacked, else Z; 0 for None."""
        if space is None:
            return 0
        frames, size = space.shape
        return frames * size if self.frame_stack_on_channel else size

    def build_encoder(self, encoder_model: Callable[..., Any] | None) -> None:
        """Set `encoder` and `rgb_latent_size` (the size of one view) from a partial model."""
        if not self.use_pixels:
            return
        if encoder_model is None:
            raise ValueError("the observation has images, but encoder_model is null; configure one")
        images = extract_many_from_spec(self.observation_space, IMAGES)
        frames, channels, height, width = next(iter(images.values())).shape
        channels *= frames if self.frame_stack_on_channel else 1
        height, width = (
            len(range(size)[every_nth_pixel(size, self.image_stride)]) for size in (height, width)
        )
        encoder = encoder_model(input_shape=(self.num_views, channels, height, width))
        self.encoder = encoder.to(self.device)
        self.rgb_latent_size = int(encoder.output_shape[-1])

    def build_view_fusion(self, view_fusion_model: Callable[..., Any] | None) -> None:
        """Set `view_fusion` and the fused `rgb_latent_size`; one camera needs no fusion."""
        if not self.use_multicam_fusion:
            return
        if view_fusion_model is None:
            raise ValueError(
                f"{self.num_views} cameras, but view_fusion_model is null; configure one"
            )
        fusion = view_fusion_model(input_shape=self.encoder.output_shape)
        self.view_fusion = fusion.to(self.device)
        self.rgb_latent_size = int(fusion.output_shape[-1])

    def get_fully_connected_inputs(self) -> dict[str, tuple[int, ...]]:
        """Input shapes of a head, actions aside: `(size,)`, or `(T, size)` for sequences."""
        sizes = {
            "fused_view_feats": self.rgb_latent_size,
            "low_dim_obs": self.low_dim_size,
            "time_obs": self.time_obs_size,
        }
        lead = () if self.frame_stack_on_channel else (self.time_dim,)
        return {name: (*lead, size) for name, size in sizes.items() if size > 0}

    def extract_low_dim_state(
        self, observations: Mapping[str, torch.Tensor], suffix: str = ""
    ) -> torch.Tensor | None:
        """Proprioception, flattened over T where frames are stacked; None where there is none."""
        return self._extract_vector(observations, "low_dim_state" + suffix)

    def extract_time(
        self, observations: Mapping[str, torch.Tensor], suffix: str = ""
    ) -> torch.Tensor | None:
        """One-hot time, flattened over T where frames are stacked; None where there is none."""
        return self._extract_vector(observations, "time" + suffix)

    def _extract_vector(
        self, observations: Mapping[str, torch.Tensor], key: str
    ) -> torch.Tensor | None:
        value = extract_from_batch(observations, key, missing_ok=True)
        if value is None:
            return None
        value = value.float()
        if self.low_dim_norm is not None and key.startswith("low_dim_state"):
            value = self.low_dim_norm(value)
        return value.flatten(1) if self.frame_stack_on_channel else value

    def observe_statistics(self, batch: Mapping[str, torch.Tensor]) -> None:
        """Let the scale of proprioception follow the batch that is about to be learnt from."""
        if self.low_dim_norm is not None:
            self.low_dim_norm.observe(batch["low_dim_state"])

    def extract_pixels(
        self, observations: Mapping[str, torch.Tensor], regex: str = CURRENT_IMAGES
    ) -> torch.Tensor:
        """All views as stored, `(B, V, T*C, H, W)` or `(B, V, T, C, H, W)`."""
        pixels = stack_tensor_dictionary(extract_many_from_batch(observations, regex), dim=1)
        if self.frame_stack_on_channel:
            return flatten_time_dim_into_channel_dim(pixels, has_view_axis=True)
        return pixels

    def thin_out(self, pixels: torch.Tensor) -> torch.Tensor:
        """Every `image_stride`-th pixel of images `(..., H, W)`; a view."""
        height, width = (every_nth_pixel(size, self.image_stride) for size in pixels.shape[-2:])
        return pixels[..., height, width]

    def augment(self, pixels: torch.Tensor) -> torch.Tensor:
        """Shift every image of `(B, V, ..., H, W)` at random, the frames of one stack together, and
        thin it out; without `use_augmentation` only the latter.

        On the stored bytes rather than on floats: a whole-pixel shift of either is the same.
        """
        if self.aug is None:
            return self.thin_out(pixels)
        shifted = self.aug(pixels.flatten(0, 1).flatten(1, -3))
        return shifted.reshape(*pixels.shape[:-2], *shifted.shape[-2:])

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Images of `thin_out` to view features `(B, V, F)` or `(B*T, V, F)`."""
        if not self.frame_stack_on_channel:
            pixels = pixels.transpose(1, 2).flatten(0, 1)
        in_bfloat16 = self.learns_in_bfloat16 and self.training
        with torch.autocast(self.device.type, torch.bfloat16, enabled=in_bfloat16):
            features = self.encoder(pixels)
        return features.float()

    def multi_view_fusion(self, view_feats: torch.Tensor) -> torch.Tensor:
        """View features of `encode` to `(B, F')` or `(B, T, F')`."""
        fused = self.view_fusion(view_feats) if self.use_multicam_fusion else view_feats[:, 0]
        if not self.frame_stack_on_channel:
            fused = fused.unflatten(0, (-1, self.time_dim))
        return fused

    def observe(self, observations: Mapping[str, torch.Tensor], to_learn: bool = False) -> Features:
        """Features of observations `{key: (B, T, ...)}` to act on, or `to_learn` from."""
        fused = None
        if self.use_pixels:
            prepare = self.augment if to_learn else self.thin_out
            fused = self.multi_view_fusion(self.encode(prepare(self.extract_pixels(observations))))
        return Features(
            self.extract_low_dim_state(observations), fused, self.extract_time(observations)
        )

    def keep_average(self, decay: float | None) -> None:
        """Let an average of encoder, view fusion and actor act in evaluation; None: themselves."""
        if decay is not None:
            self.average = WeightAverage(self, decay)

    @contextmanager
    def acting(self, eval_mode: bool) -> Iterator[None]:
        """Inside the block encoder, view fusion and actor are those that act."""
        if not eval_mode or self.average is None:
            yield
            return
        with self.average.standing_in(self):
            yield

    def reset(self, step: int, agents_to_reset: list[int]) -> None:
        """Clear the recurrent states of environments whose episode ended."""
        for model in self._actor_models():
            for env_index in agents_to_reset:
                model.reset(env_index)

    def set_eval_env_running(self, value: bool) -> None:
        super().set_eval_env_running(value)
        for model in self._actor_models():
            model.eval_env_running = value

    def _actor_models(self) -> list[Any]:
        actors: list[Any] = [self.actor]
        if self.average is not None:
            actors.append(self.average["actor"])
        return [actor.actor_model for actor in actors]
