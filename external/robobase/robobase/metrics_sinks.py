"""Where logged values go besides the console and the CSV files: TensorBoard, Weights & Biases."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Protocol

import imageio.v3 as iio
import numpy as np

from robobase.errors import UserError

# A GIF in an event file is a preview; unbounded ones would make the file grow by gigabytes.
_GIF_FRAMES = 100
_GIF_SIZE = 256  # pixels


class Sink(Protocol):
    """A receiver of logged values; `key` carries its group, as in `train/critic_loss`."""

    def scalars(self, values: dict[str, float], step: int) -> None: ...

    def image(self, key: str, image: np.ndarray, step: int) -> None:
        """`image` is `(H, W, C)` uint8."""

    def video(self, key: str, frames: np.ndarray, fps: float, step: int) -> None:
        """`frames` is `(T, H, W, C)` uint8."""

    def close(self) -> None: ...


class TensorBoardSink:
    """Writes TensorBoard event files to `log_dir`."""

    def __init__(self, log_dir: Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                "tb.use=true needs the package tensorboard; run `pip install tensorboard` or set "
                "tb.use=false"
            ) from error
        self._writer = SummaryWriter(str(log_dir))

    def scalars(self, values: dict[str, float], step: int) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def image(self, key: str, image: np.ndarray, step: int) -> None:
        self._writer.add_image(key, image, step, dataformats="HWC")

    def video(self, key: str, frames: np.ndarray, fps: float, step: int) -> None:
        # `SummaryWriter.add_video` does nothing without moviepy; TensorBoard takes any GIF.
        from tensorboard.compat.proto.summary_pb2 import Summary

        every = -(-len(frames) // _GIF_FRAMES)
        stride = -(-max(frames.shape[1:3]) // _GIF_SIZE)
        frames, fps = frames[::every, ::stride, ::stride], fps / every
        buffer = io.BytesIO()
        iio.imwrite(buffer, frames, extension=".gif", duration=1000 / fps, loop=0)
        image = Summary.Image(
            height=frames.shape[1],
            width=frames.shape[2],
            colorspace=frames.shape[3],
            encoded_image_string=buffer.getvalue(),
        )
        summary = Summary(value=[Summary.Value(tag=key, image=image)])
        self._writer._get_file_writer().add_summary(summary, step)

    def close(self) -> None:
        self._writer.close()


class WandbSink:
    """Logs to Weights & Biases."""

    def __init__(self, log_dir: Path, config: Any, **where: str | None):
        """`where`: `project`, `entity` and `name` of the run."""
        try:
            import wandb
        except ImportError as error:
            raise UserError(
                "wandb.use=true needs the package wandb; run `pip install wandb` or set "
                "wandb.use=false"
            ) from error
        self._wandb = wandb
        self._run = wandb.init(dir=str(log_dir), config=config, **where)

    def scalars(self, values: dict[str, float], step: int) -> None:
        self._run.log(values, step=step)

    def image(self, key: str, image: np.ndarray, step: int) -> None:
        self._run.log({key: self._wandb.Image(image)}, step=step)

    def video(self, key: str, frames: np.ndarray, fps: float, step: int) -> None:
        video = self._wandb.Video(frames.transpose(0, 3, 1, 2), fps=fps, format="mp4")
        self._run.log({key: video}, step=step)

    def close(self) -> None:
        self._run.finish()
