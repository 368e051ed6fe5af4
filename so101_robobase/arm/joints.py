"""The SO-101's joints, for what speaks to its servos: LeRobot's driver, the emulator and so on."""

from so101_robobase.arm.model import SO101

JOINTS = SO101.joint_names
"""Order of every array of joints."""

NUM_JOINTS = SO101.num_joints
