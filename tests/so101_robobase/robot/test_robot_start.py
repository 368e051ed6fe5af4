"""Where episodes on the robot begin."""

import numpy as np
import pytest

from robobase.errors import UserError
from so101_robobase.arm.clearance import Clearance
from so101_robobase.robot.rollout.start_pose import start_pose
from so101_robobase.robot.safety.filter import SafetyFilter, SafetyLimits
from so101_robobase.sim.scene import build_scene
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask


@pytest.mark.parametrize("stage", [0, 3, 4])
def test_it_is_the_middle_of_where_episodes_of_training_begin(stage):
    config = LiftConfig(stage=stage, num_threads=1)
    task = LiftTask(config, num_envs=64)
    task.seed(list(range(64)))
    task.reset(np.arange(64))
    poses = task.sim.joint_pos
    pose = start_pose(config)
    spread = np.ptp(poses, axis=0) + 1e-9
    assert (pose >= poses.min(0) - 0.1 * spread).all()
    assert (pose <= poses.max(0) + 0.1 * spread).all()
    np.testing.assert_allclose(pose, poses.mean(0), atol=0.12)


def test_the_pose_of_the_whole_task_is_one_that_safety_allows():
    model = build_scene().model
    safety = SafetyFilter(SafetyLimits(), model.actuator_ctrlrange, Clearance(model))
    pose = start_pose(LiftConfig(stage=0))
    assert safety.violation(pose) == 0
    np.testing.assert_array_equal(np.clip(pose, safety.lower, safety.upper), pose)


def test_of_a_mixture_the_greatest_share_counts():
    mixed = start_pose(LiftConfig(stage={0: 0.6, 3: 0.3, 1: 0.1}))
    np.testing.assert_array_equal(mixed, start_pose(LiftConfig(stage=0)))


@pytest.mark.parametrize("stage", [1, 2])
def test_a_robot_cannot_begin_with_the_cube_in_hand(stage):
    with pytest.raises(UserError, match=rf"episodes of stage {stage} .* env.eval_stage=0"):
        start_pose(LiftConfig(stage=stage))
