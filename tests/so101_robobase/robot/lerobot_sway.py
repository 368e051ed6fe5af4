"""A teleoperator of LeRobot's that nobody holds: it sways shoulder_pan."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from lerobot.teleoperators.config import TeleoperatorConfig
from lerobot.teleoperators.teleoperator import Teleoperator

from so101_robobase.arm.joints import JOINTS


@TeleoperatorConfig.register_subclass("sway")
@dataclass(kw_only=True)
class SwayConfig(TeleoperatorConfig):
    """How far to sway, degrees."""

    amplitude: float = 20.0


class Sway(Teleoperator):
    """Once around in two seconds; the other joints go to 0, the gripper to half."""

    config_class = SwayConfig
    name = "sway"

    def __init__(self, config: SwayConfig):
        super().__init__(config)
        self.config = config
        self._connected = False

    action_features = {f"{joint}.pos": float for joint in JOINTS}  # noqa: RUF012
    feedback_features: dict[str, type] = {}  # noqa: RUF012
    is_calibrated = True

    @property
    def is_connected(self) -> bool:
        return self._connected

    def connect(self, calibrate: bool = True) -> None:
        self._connected = True

    def calibrate(self) -> None:
        pass

    def configure(self) -> None:
        pass

    def get_action(self) -> dict[str, Any]:
        pan = self.config.amplitude * np.sin(np.pi * time.monotonic())
        return {
            key: {0: pan, 5: 50.0}.get(index, 0.0) for index, key in enumerate(self.action_features)
        }

    def send_feedback(self, feedback: dict[str, Any]) -> None:
        pass

    def disconnect(self) -> None:
        self._connected = False
