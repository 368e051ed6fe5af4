"""What `so101_robobase robot rollout` is asked for; `rollout_command` says what each means."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from so101_robobase.base.arguments import parse_frame_size


@dataclass(frozen=True)
class RolloutOptions:
    """The command line; defaults are the command's."""

    snapshot: Path
    robot: str
    alignment: Path | None
    # a real arm
    port: str | None
    calibration: Path | None
    camera: str | None
    camera_size: str
    camera_fps: int
    yes: bool
    # networks
    segmentation: str | None
    depth: str | None
    device: str
    # the run
    num_episodes: int
    episode_time_s: float | None
    action_scale: float
    dry_run: bool
    step: bool
    no_self_test: bool
    on_stop: str
    seed: int
    faults: Path | None
    limits: Path | None
    overrides: Sequence[str]
    trust: Sequence[str]
    # output
    output_dir: Path | None
    record: Path | None
    display: str | None

    @property
    def frame_size(self) -> tuple[int, int]:
        """(height, width) of the camera's frames."""
        return parse_frame_size(self.camera_size)
