"""The simulated arm as a robot of LeRobot's, and any frames as a camera of LeRobot's.

LeRobot's tools find both when they are told where to look:

    lerobot-replay --robot.discover_packages_path=so101_robobase.robot.so101_mujoco \\
        --robot.type=so101_mujoco --robot.camera=false --play_sounds=false \\
        --dataset.repo_id=local/lift --dataset.root=path/to/lift --dataset.episode=0

Needs LeRobot. The folder's layout and the names of classes are what LeRobot looks them up by.
"""

from so101_robobase.robot.so101_mujoco.config_frame_camera import FrameCameraConfig
from so101_robobase.robot.so101_mujoco.config_so101_mujoco import SO101MujocoConfig
from so101_robobase.robot.so101_mujoco.frame_camera import FrameCamera
from so101_robobase.robot.so101_mujoco.so101_mujoco import SO101Mujoco

__all__ = ["FrameCamera", "FrameCameraConfig", "SO101Mujoco", "SO101MujocoConfig"]
