"""Where episodes on the robot begin: the arm's pose in the start states of training."""

import numpy as np

from robobase.errors import UserError
from so101_robobase.arm.joints import NUM_JOINTS
from so101_robobase.tasks.config import TaskConfig
from so101_robobase.tasks.starts import bank

_CUBE_IN_HAND = (1, 2)


def start_pose(config: TaskConfig) -> np.ndarray:
    """(6,) rad: the middle of the arm's poses in the start states of `config`'s main stage.

    Raises:
        UserError: those states have the cube in the gripper already.
    """
    stage = max(config.stage_weights, key=lambda item: item[1])[0]
    if stage in _CUBE_IN_HAND:
        raise UserError(
            f"episodes of stage {stage} begin with the cube in the gripper, which a robot cannot; "
            "add --overrides env.eval_stage=0"
        )
    states = bank(
        config.scene, stage, config.cube_jitter, config.carry_height, marks=config.marks
    ).states
    return states[:, 1 : 1 + NUM_JOINTS].mean(axis=0)  # a row begins with the time, then qpos
