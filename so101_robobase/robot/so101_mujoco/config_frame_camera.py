"""Settings of a camera whose frames come from this process."""

from dataclasses import dataclass

from lerobot.cameras.configs import CameraConfig, ColorMode


@CameraConfig.register_subclass("so101_frames")
@dataclass(kw_only=True)
class FrameCameraConfig(CameraConfig):
    """A camera that shows what the source called `source` gives; see `frame_camera.SOURCES`.

    `fps`, `width` and `height` must be given, as inside any robot's config; frames of another size
    are refused.
    """

    source: str
    color_mode: ColorMode = ColorMode.RGB
