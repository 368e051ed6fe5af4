"""Wrappers of environments. All but the action-sequence ones accept vector environments too."""

from robobase.envs.wrappers.action_sequence import ActionSequence, RecedingHorizonControl
from robobase.envs.wrappers.append_demo_info import AppendDemoInfo
from robobase.envs.wrappers.concat_dim import ConcatDim
from robobase.envs.wrappers.frame_stack import FrameStack
from robobase.envs.wrappers.onehot_time import OnehotTime
from robobase.envs.wrappers.rescale_from_tanh import (
    RescaleFromTanh,
    RescaleFromTanhEEPose,
    RescaleFromTanhWithMinMax,
    RescaleFromTanhWithStandardization,
)
from robobase.envs.wrappers.reward_modifiers import ClipReward, ScaleReward, ShapeRewards
from robobase.envs.wrappers.transpose_image_chw import TransposeImageCHW

__all__ = [
    "ActionSequence",
    "AppendDemoInfo",
    "ClipReward",
    "ConcatDim",
    "FrameStack",
    "OnehotTime",
    "RecedingHorizonControl",
    "RescaleFromTanh",
    "RescaleFromTanhEEPose",
    "RescaleFromTanhWithMinMax",
    "RescaleFromTanhWithStandardization",
    "ScaleReward",
    "ShapeRewards",
    "TransposeImageCHW",
]
