"""Where logged values go besides the console and the CSV files: TensorBoard, Weights & Biases."""

from __future__ import annotations

import io
import tempfile
import threading
from pathlib import Path
from typing import Any, Protocol

import imageio.v3 as iio
import numpy as np

from robobase.errors import UserError
from robobase.video import write_video

OFFLINE, ONLINE = "offline", "online"
MODES = (OFFLINE, ONLINE)
"""Of Weights & Biases: without network and login, or sent to its server while the run goes on."""

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
        _leave_errors_to_caller()
        try:
            self._writer = SummaryWriter(str(log_dir))
        except OSError as error:
            raise UserError(
                f"TensorBoard's folder {log_dir} cannot be written ({error.strerror}); choose "
                "another tb.log_dir"
            ) from error

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


def _leave_errors_to_caller() -> None:
    """Keep TensorBoard's writing thread from printing what its next caller gets as an error too."""
    print_error = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        thread = type(args.thread).__module__
        if not (issubclass(args.exc_type, OSError) and thread.startswith("tensorboard.")):
            print_error(args)

    hook.of_tensorboard = True  # type: ignore[attr-defined]
    if not hasattr(print_error, "of_tensorboard"):
        threading.excepthook = hook


class WandbSink:
    """Logs to Weights & Biases: into `<log_dir>/wandb`, and with `mode="online"` to its server too.

    Steps are values of their own, `env_steps` and `pretrain_steps`, because those of Weights &
    Biases may never fall, as they do from pre-training to training. Videos are encoded here: its
    own way needs moviepy.
    """

    def __init__(self, log_dir: Path, config: Any, mode: str = OFFLINE, **where: str | None):
        """`where`: `project`, `entity` and `name` of the run."""
        if mode not in MODES:
            raise UserError(f"wandb.mode={mode} is not allowed; give {' or '.join(MODES)}")
        try:
            import wandb
        except ImportError as error:
            raise UserError(
                "wandb.use=true needs the package wandb; run `pip install wandb` or set "
                "wandb.use=false"
            ) from error
        self._wandb = wandb
        settings = wandb.Settings(console="off")  # the console's lines stay this program's
        options: dict[str, Any] = {"mode": mode, **where}
        try:
            self._run = wandb.init(dir=str(log_dir), config=config, settings=settings, **options)
        except (wandb.Error, OSError) as error:  # no login, no network, no room
            reason = " ".join(str(error).split())[:200]
            remedy = "run `wandb login`, or set wandb.mode=offline" if mode == ONLINE else ""
            raise UserError(
                f"Weights & Biases does not start ({reason}); {remedy or 'set wandb.use=false'}"
            ) from error
        for group, steps in (("*", "env_steps"), ("pretrain*", "pretrain_steps")):
            self._run.define_metric(steps, hidden=True)
            self._run.define_metric(group, step_metric=steps)

    def scalars(self, values: dict[str, float], step: int) -> None:
        for steps, prefixed in (("pretrain_steps", True), ("env_steps", False)):
            part = {k: v for k, v in values.items() if k.startswith("pretrain") is prefixed}
            if part:
                self._run.log({**part, steps: step})

    def image(self, key: str, image: np.ndarray, step: int) -> None:
        self._log(key, self._wandb.Image(image), step)

    def video(self, key: str, frames: np.ndarray, fps: float, step: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "video.mp4")
            write_video(file, frames, fps)
            self._log(key, self._wandb.Video(str(file), format="mp4"), step)  # takes a copy

    def close(self) -> None:
        self._run.finish()

    def _log(self, key: str, value: Any, step: int) -> None:
        steps = "pretrain_steps" if key.startswith("pretrain") else "env_steps"
        self._run.log({key: value, steps: step})
