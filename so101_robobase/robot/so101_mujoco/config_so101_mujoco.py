"""Settings of the simulated arm under LeRobot."""

from dataclasses import dataclass
from pathlib import Path

from lerobot.robots.config import RobotConfig


@RobotConfig.register_subclass("so101_mujoco")
@dataclass(kw_only=True)
class SO101MujocoConfig(RobotConfig):
    """`--robot.<name>=<value>` of LeRobot's tools.

    Attributes:
        seed: of the scene that `connect` begins with: the cube's place, as in evaluations.
        stage: where the arm starts, as `env.stage`: 0 is the ready pose above the table.
        camera: whether there is a wrist camera, called "wrist".
        camera_width, camera_height: of its frames, pixels.
        realtime: time passes by the wall clock; otherwise by 1/`fps` s at each `send_action`.
        fps: actions per second, where time does not pass by itself.
        max_relative_target: as of LeRobot's arms: how far a command may be from where its joint
            is, in degrees (gripper: percent), for all joints or by joint.
        alignment: file of `so101_robobase robot align`; default: none.
    """

    seed: int = 0
    stage: int = 0
    camera: bool = True
    camera_width: int = 640
    camera_height: int = 480
    realtime: bool = True
    fps: int = 25
    max_relative_target: float | dict[str, float] | None = None
    alignment: Path | None = None
