"""The simulated arm behind LeRobot's `Robot`: names, units and manners of `so101_follower`."""

import time
from functools import cached_property
from typing import Any

import numpy as np
from lerobot.robots.robot import Robot
from lerobot.robots.utils import ensure_safe_goal_position
from lerobot.utils.decorators import check_if_already_connected, check_if_not_connected

from so101_robobase.arm import alignment as alignments
from so101_robobase.arm.alignment import GRIPPER
from so101_robobase.arm.joints import JOINTS
from so101_robobase.robot.simulated.body import Body
from so101_robobase.robot.simulated.scene_camera import SceneCamera
from so101_robobase.robot.simulated.simulated_driver import SimulatedDriver
from so101_robobase.robot.so101_mujoco.config_so101_mujoco import SO101MujocoConfig
from so101_robobase.tasks.lift.config import LiftConfig

WRIST = "wrist"
MOST_AT_ONCE = 2.0  # s that are caught up with after a pause; by then an arm has come to rest


class SO101Mujoco(Robot):
    """Observations: `<motor>.pos` (degrees, gripper 0 to 100) and the frame `wrist`, RGB uint8.

    Actions: any of the `<motor>.pos`; motors without one keep their goal. As on the real arm, the
    gripper's goals and readings are clamped to 0 to 100 and degrees are not; the model's own limits
    stop the joints.

    Attributes:
        body: the arm, the table and the cube.
        cameras: by name.
    """

    config_class = SO101MujocoConfig
    name = "so101_mujoco"

    def __init__(self, config: SO101MujocoConfig):
        super().__init__(config)
        self.config = config
        if config.fps < 1:
            raise ValueError(f"fps must be at least 1, not {config.fps}")
        task = LiftConfig(stage=config.stage, num_threads=1)
        alignment = alignments.load(config.alignment) if config.alignment else None
        self.body = Body(task)
        self._driver = SimulatedDriver(self.body, alignment)
        self._goal = np.zeros(len(JOINTS))  # servo units
        self._seen = 0.0  # s of the wall clock up to which time has passed
        self.cameras: dict[str, SceneCamera] = {}
        if config.camera:
            size = config.camera_width, config.camera_height
            self.cameras[WRIST] = SceneCamera(task.build_scene(), lambda: self.body.qpos, size)

    @cached_property
    def observation_features(self) -> dict[str, Any]:
        """float for a motor, (height, width, 3) for a camera."""
        shapes = {name: (one.height, one.width, 3) for name, one in self.cameras.items()}
        return {**self.action_features, **shapes}

    @cached_property
    def action_features(self) -> dict[str, type]:
        """float for every motor."""
        return {f"{joint}.pos": float for joint in JOINTS}

    @property
    def is_connected(self) -> bool:
        """Between `connect` and `disconnect`."""
        return self._driver.connected

    @property
    def is_calibrated(self) -> bool:
        """Always: a model needs no calibration."""
        return True

    @check_if_already_connected
    def connect(self, calibrate: bool = True) -> None:
        """Begin the scene of `config.seed`; the servos hold the arm."""
        self.body.begin(self.config.seed)
        for camera in self.cameras.values():
            camera.open()
        self._driver.connect()
        self._goal = self._driver.read().position
        self._seen = time.monotonic()

    def calibrate(self) -> None:
        """Nothing to do."""

    def configure(self) -> None:
        """Nothing to do."""

    @check_if_not_connected
    def get_observation(self) -> dict[str, Any]:
        """Where the joints are, and what the camera sees, now."""
        self._catch_up()
        observation: dict[str, Any] = _named(self._positions())
        for name, camera in self.cameras.items():
            observation[name] = np.ascontiguousarray(camera.grab()[1][..., ::-1])
        return observation

    @check_if_not_connected
    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Give the servos new goals; returns them, limited by `max_relative_target`.

        Raises ValueError for nan, inf and keys that are not `<motor>.pos`.
        """
        self._catch_up()
        goals = {_motor(key): float(value) for key, value in action.items()}
        limit = self.config.max_relative_target
        if limit is not None:
            present = dict(zip(JOINTS, self._positions(), strict=True))
            goals = ensure_safe_goal_position(
                {motor: (goal, float(present[motor])) for motor, goal in goals.items()},
                limit if isinstance(limit, dict) else float(limit),
            )
        wanted = self._goal.copy()
        for motor, goal in goals.items():
            wanted[JOINTS.index(motor)] = goal
        wanted[GRIPPER] = np.clip(wanted[GRIPPER], 0, 100)
        self._driver.write(wanted)
        self._goal = wanted
        if not self.config.realtime:
            self._pass(1 / self.config.fps)
        return {f"{motor}.pos": goal for motor, goal in goals.items()}

    @check_if_not_connected
    def disconnect(self) -> None:
        """The arm goes limp."""
        self._driver.release()
        self._driver.close()
        for camera in self.cameras.values():
            camera.close()

    def _positions(self) -> np.ndarray:
        positions = self._driver.read().position
        positions[GRIPPER] = np.clip(positions[GRIPPER], 0, 100)
        return positions

    def _catch_up(self) -> None:
        if self.config.realtime:
            now = time.monotonic()
            self._pass(min(now - self._seen, MOST_AT_ONCE))
            self._seen = now

    def _pass(self, seconds: float) -> None:
        clock = self._driver.clock
        clock.wait_until(clock.now() + seconds)


def _named(positions: np.ndarray) -> dict[str, float]:
    return {f"{joint}.pos": float(value) for joint, value in zip(JOINTS, positions, strict=True)}


def _motor(key: str) -> str:
    motor = key.removesuffix(".pos")
    if key == motor or motor not in JOINTS:
        raise ValueError(f"{key!r} is not an action of this robot; known: <motor>.pos of {JOINTS}")
    return motor
